"""The part `looks` of `benchmarks/web.py`: what a look at a page costs in milliseconds and tokens, beside BrowserGym and Playwright.

All look at the same pages with the same Chromium in the same run, in turns; ours is the whole call (`env.observe()`), theirs are
`page.aria_snapshot(mode="ai")`, which playwright-mcp shows, and BrowserGym's marks, DOM snapshot and accessibility tree as text.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from web_pages import Pages
from web_peers import INSTALL, TOKENIZER, Peers, installed
from web_shop import Shop

from branchwise.web import Browser, WebSandboxes
from branchwise.web.finding import find_chromium
from branchwise.web.tasks import MiniWoB

MAILS = {f"e-mail {seed}": ("email-inbox", seed) for seed in (1, 2, 3)}
"""Pages of MiniWoB++ and their seeds: inboxes with six, nine and ten mails."""
LOADED = MAILS | {"flights": ("book-flight", 1), "posts": ("social-media", 1)}
LONG = "long"
Row = dict[str, float]
"""`ms`, `chars` and, with the peers' environment, `tokens` of one who looks at a page."""


async def measure(bar: Progress, repeats: int) -> dict[str, float]:
    """Return the figures; the table of all pages is printed on the way.

    Args:
        bar: where to say how far it is.
        repeats: looks at every page.
    """
    with Pages() as pages, Shop() as shop, MiniWoB() as family:
        urls: dict[str, str] = {}
        for name, (page, seed) in LOADED.items():
            world = (await family.task(page, seed, goal="")).start
            assert not isinstance(world, str)
            urls[name] = (await world.open()).url
        urls |= {f"shop {path}": shop.url + path for path in ("/", "/list/all", "/product/1", "/board")}
        urls |= {name: pages.url(name) for name in pages.texts}
        rows = await _all(bar, urls, repeats)
    Console(stderr=True, width=150).print(table(rows))
    return figures(rows)


async def _all(bar: Progress, urls: Mapping[str, str], repeats: int) -> dict[str, dict[str, Row]]:
    task = bar.add_task("looks", total=len(urls))
    rows: dict[str, dict[str, Row]] = {}
    if not installed():
        print(f"no tokens and no BrowserGym: its environment is not there ({INSTALL})", file=sys.stderr)
        for name, url in urls.items():
            rows[name] = await _page(url, repeats, None)
            bar.advance(task)
        return rows
    async with Peers(find_chromium(None, "", headed=False)) as peers:
        for name, url in urls.items():
            rows[name] = await _page(url, repeats, peers)
            bar.advance(task)
    return rows


async def _page(url: str, repeats: int, peers: Peers | None) -> dict[str, Row]:
    """Return what everybody's looks at one page cost."""
    with tempfile.TemporaryDirectory() as folder:
        supply = await Browser(url, seed=None).start("looks", Path(folder))
        try:
            seen = await _beside(supply, url, repeats)
        finally:
            await supply.aclose()
    if peers is not None:
        seen["BrowserGym"] = await peers.look(url, max(3, repeats // 3))
    rows = {name: {"ms": statistics.median(times), "chars": float(len(text))} for name, (times, text) in seen.items()}
    if peers is not None:
        for row, count in zip(rows.values(), await peers.tokens([text for _, text in seen.values()]), strict=True):
            row["tokens"] = count
    return rows


async def _beside(supply: WebSandboxes, url: str, repeats: int) -> dict[str, tuple[list[float], str]]:
    """Look at a page in turns: we, and Playwright in a context of its own."""
    env = await supply.open()
    context = await supply.chromium.context(viewport={"width": 1280, "height": 720})
    try:
        page = await context.new_page()
        await page.goto(url, wait_until="load")
        ours, theirs = (await env.observe()).text, await page.aria_snapshot(mode="ai")
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(repeats):
            begun = time.perf_counter()
            await env.observe()
            between = time.perf_counter()
            await page.aria_snapshot(mode="ai")
            times[0].append((between - begun) * 1000)
            times[1].append((time.perf_counter() - between) * 1000)
        return {"Branchwise": (times[0], ours), "Playwright": (times[1], theirs)}
    finally:
        await context.close()
        await env.close()


def figures(rows: Mapping[str, Mapping[str, Row]]) -> dict[str, float]:
    """Return what is said of all pages: the goals' own, and how we compare with the better peer where we compare worst."""
    told: dict[str, float] = {"observation_pages": len(rows)}
    for name, pages in (("email", list(MAILS)), ("list", ["list"]), ("long", [LONG])):
        own = [rows[page]["Branchwise"] for page in pages]
        told |= {
            f"observation_{key}_{name}": round(statistics.median(row[key] for row in own), 1)
            for key in ("tokens", "ms")
            if key in own[0]
        }
    for key in ("tokens", "ms", "chars"):
        ratios = {
            name: page["Branchwise"][key] / min(row[key] for who, row in page.items() if who != "Branchwise")
            for name, page in rows.items()
            if key in page["Branchwise"]
        }
        if ratios:
            told[f"observation_{key}_over_best_peer"] = round(max(ratios.values()), 3)
            told[f"observation_{key}_over_best_peer_median"] = round(statistics.median(ratios.values()), 3)
            told[f"observation_{key}_over_best_peer_long_page"] = round(ratios[LONG], 4)
    return told


def table(rows: Mapping[str, Mapping[str, Row]]) -> Table:
    """The figures of every page for people."""
    whose = list(next(iter(rows.values())))
    view = Table(title=f"a look at a page: ms / characters / tokens of {TOKENIZER}")
    view.add_column("page")
    for name in whose:
        view.add_column(name, justify="right")
    for page, row in rows.items():
        cells = [row[name] for name in whose]
        view.add_row(
            page,
            *(
                f"{c['ms']:.1f} / {c['chars']:,.0f} / {c['tokens']:,.0f}"
                if "tokens" in c
                else f"{c['ms']:.1f} / {c['chars']:,.0f}"
                for c in cells
            ),
        )
    return view
