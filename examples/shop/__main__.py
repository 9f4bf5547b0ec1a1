"""Serves the shop until it is interrupted."""

from __future__ import annotations

import argparse
import contextlib
import signal

from .server import Shop


def main() -> None:
    """Serve it."""
    parser = argparse.ArgumentParser(prog="python -m shop", description="Serves the shop on this machine.")
    parser.add_argument("--port", type=int, default=0, help="where (default: a free port)")
    with Shop(parser.parse_args().port) as shop, contextlib.suppress(KeyboardInterrupt):
        print(f"{shop.url} (log in as mira, password lantern-42; Ctrl+C ends it)", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
