"""BrowserGym's looks and a tokenizer, in an environment of their own: knows nothing of Branchwise.

Reads a JSON object per line and answers each with one: `{"texts": [...]}` is answered with the numbers of tokens, `{"url": ...,
"repeats": n}` with the milliseconds and the text of BrowserGym's observation of a page.

    python web_peers_inside.py CHROMIUM
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def tokens(texts: list[str]) -> dict[str, Any]:
    """Count tokens by the vocabulary o200k_base."""
    from rs_bpe.bpe import openai

    encoding = openai.o200k_base()
    return {"tokens": [len(encoding.encode(text)) for text in texts]}


class Gym:
    """A page as BrowserGym sees it: marks, DOM snapshot, accessibility tree, told as text; without its screenshot."""

    def __init__(self, executable: str) -> None:
        from browsergym.core.constants import BROWSERGYM_ID_ATTRIBUTE
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        self._playwright.selectors.set_test_id_attribute(BROWSERGYM_ID_ATTRIBUTE)
        self._browser = self._playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )

    def look(self, url: str, repeats: int) -> dict[str, Any]:
        """Look at a page, again and again."""
        page = self._browser.new_page(viewport={"width": 1280, "height": 720})
        try:
            page.goto(url, wait_until="load")
            self._text(page)
            times: list[float] = []
            text = ""
            for _ in range(repeats):
                begun = time.perf_counter()
                text = self._text(page)
                times.append((time.perf_counter() - begun) * 1000)
            return {"ms": times, "text": text}
        finally:
            page.close()

    @staticmethod
    def _text(page: Any) -> str:
        from browsergym.core import observation as seen
        from browsergym.utils.obs import flatten_axtree_to_str

        seen._pre_extract(page, lenient=True)  # noqa: SLF001 - BrowserGym has no public way to one observation
        snapshot = seen.extract_dom_snapshot(page)
        properties = seen.extract_dom_extra_properties(snapshot, scale_factor=1.0)
        tree = seen.extract_merged_axtree(page)
        seen._post_extract(page)  # noqa: SLF001
        return str(flatten_axtree_to_str(tree, extra_properties=properties, with_visible=True, with_clickable=True))

    def close(self) -> None:
        """End the browser."""
        self._browser.close()
        self._playwright.stop()


def main() -> None:
    """Answer until there is nothing more to answer."""
    gym: Gym | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        if "texts" in asked:
            reply = tokens(asked["texts"])
        else:
            gym = gym or Gym(sys.argv[1])
            reply = gym.look(asked["url"], asked["repeats"])
        print(json.dumps(reply), flush=True)
    if gym is not None:
        gym.close()


if __name__ == "__main__":
    main()
