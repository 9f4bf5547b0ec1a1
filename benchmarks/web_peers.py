"""The peers of `benchmarks/web.py`: BrowserGym, and a tokenizer, in an environment of their own that is made on request.

python benchmarks/web_peers.py --install
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from platformdirs import user_cache_path

PACKAGES = ("browsergym-core==0.14.3", "rs-bpe==0.1.0")
TOKENIZER = "o200k_base (rs-bpe)"
INSTALL = "python benchmarks/web_peers.py --install"
_INSIDE = Path(__file__).with_name("web_peers_inside.py")
_REPLY_SECONDS = 300.0
_REPLY_BYTES = 1 << 26


def home() -> Path:
    """Return the folder of the peers' environment."""
    return user_cache_path("branchwise") / "web-peers"


def install() -> None:
    """Make the peers' environment."""
    subprocess.run([sys.executable, "-m", "venv", str(home())], check=True)
    subprocess.run([str(home() / "bin" / "pip"), "install", "-q", *PACKAGES], check=True)


def installed() -> bool:
    """Whether it is there."""
    return all(
        any(home().glob(f"lib/python*/site-packages/{name.partition('==')[0].replace('-', '_')}-*.dist-info"))
        for name in PACKAGES
    )


class Peers:
    """The peers' process: `async with Peers(chromium) as peers`.

    Args:
        chromium: the browser that they use, the same as ours.
    """

    def __init__(self, chromium: str) -> None:
        self._chromium = chromium
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        command = [str(home() / "bin" / "python"), str(_INSIDE), self._chromium]
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=_REPLY_BYTES
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        process = self._process
        assert process is not None
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens texts have."""
        return list(map(int, (await self._ask({"texts": list(texts)}))["tokens"]))

    async def look(self, url: str, repeats: int) -> tuple[list[float], str]:
        """Return the milliseconds of BrowserGym's looks at a page, and its text."""
        told = await self._ask({"url": url, "repeats": repeats})
        return told["ms"], told["text"]

    async def _ask(self, what: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write((json.dumps(what) + "\n").encode())
        await process.stdin.drain()
        line = await asyncio.wait_for(process.stdout.readline(), _REPLY_SECONDS)
        if not line:
            raise RuntimeError(f"the peers' process has ended with {await process.wait()}; what it said stands above")
        reply: dict[str, Any] = json.loads(line)
        return reply


def main() -> None:
    """Install them."""
    parser = argparse.ArgumentParser(description="Make the environment of the peers of benchmarks/web.py.")
    parser.add_argument("--install", action="store_true", required=True, help=f"install {', '.join(PACKAGES)}")
    parser.parse_args()
    install()


if __name__ == "__main__":
    main()
