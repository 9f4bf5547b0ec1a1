"""Pages to be looked at: a list of products, a long text, a large table, many frames, shadow trees; served on this machine."""

from __future__ import annotations

import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from types import TracebackType
from typing import Self

PRODUCTS, SECTIONS, PARAGRAPHS, ROWS, FRAMES, CARDS = 48, 60, 13, 500, 31, 24

_WORDS = [
    "pages",
    "tree",
    "value",
    "state",
    "budget",
    "search",
    "branch",
    "frame",
    "action",
    "model",
    "answer",
    "button",
    "order",
    "table",
    "number",
    "letter",
    "signal",
    "window",
    "record",
    "garden",
    "kettle",
    "lantern",
    "blanket",
    "copper",
    "linen",
    "walnut",
    "enamel",
    "folding",
    "large",
    "small",
    "quick",
    "quiet",
    "first",
    "second",
    "every",
    "other",
    "keeps",
    "opens",
    "reads",
    "writes",
    "holds",
    "moves",
    "brings",
    "shows",
    "takes",
    "leaves",
    "returns",
    "begins",
    "ends",
    "with",
    "without",
    "before",
    "after",
    "under",
    "over",
    "the",
    "a",
    "of",
    "and",
    "to",
    "in",
    "is",
    "it",
    "as",
    "that",
    "where",
    "which",
    "when",
]
_STYLE = "<style>body{font:15px sans-serif;margin:12px} li{display:inline-block;width:280px;vertical-align:top} td{padding:2px 8px}</style>"
_CATEGORIES = ("Kitchen", "Lamps", "Textiles", "Garden", "Office", "Sound", "Travel", "Toys")


def _said(rng: Random, words: int) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(words)).capitalize()


def _page(title: str, body: str) -> str:
    return f"<!doctype html><html lang=en><title>{title}</title>{_STYLE}<body>{body}"


def products() -> str:
    """Return a list of products as shops have it: picture, name, stars, price and three buttons each."""
    rng = Random("products")
    menu = "".join(f'<a href="/list?c={name}">{name}</a> ' for name in _CATEGORIES)
    items = [
        f'<li class="item"><a href="/p/{n}"><img src="data:," width=90 height=90 alt="{name}"></a>'
        f'<div><strong><a href="/p/{n}">{name}</a></strong></div><div class="stars" title="Rating">Rating: {rng.randint(40, 100)}%</div>'
        f'<a href="/p/{n}#reviews">{rng.randint(1, 12)} Reviews</a><div><span>${rng.randint(3, 200)}.{rng.randint(0, 99):02}</span></div>'
        f'<form action="/cart"><input type="hidden" name="p" value="{n}"><button>Add to Cart</button></form>'
        f'<a href="#" role="button" aria-label="Add to Wish List" onclick="return false"></a>'
        f'<a href="#" role="button" aria-label="Add to Compare" onclick="return false"></a></li>'
        for n, name in enumerate(_said(rng, 5) for _ in range(PRODUCTS))
    ]
    head = f'<header><a href="/">Shop</a><form><input type="search" placeholder="Search"><button>Search</button></form><nav>{menu}</nav></header>'
    sort = "<select aria-label='Sort by'><option>Position<option>Name<option>Price</select>"
    return _page(
        "Products",
        f"{head}<main><h1>Products</h1><p>Items 1-{PRODUCTS} of 612</p>{sort}<ol>{''.join(items)}</ol></main>",
    )


def documentation() -> str:
    """Return a long page of documentation: a table of contents, then sections with paragraphs, links and examples."""
    rng = Random("documentation")
    titles = [_said(rng, 3) for _ in range(SECTIONS)]
    contents = "".join(f'<li><a href="#s{n}">{title}</a></li>' for n, title in enumerate(titles))
    parts: list[str] = []
    for n, title in enumerate(titles):
        parts.append(f'<section id="s{n}"><h2>{title} <a href="#s{n}" title="Link to this heading">¶</a></h2>')
        for p in range(PARAGRAPHS):
            link = f'<a href="#s{rng.randrange(SECTIONS)}"><code>{rng.choice(_WORDS)}.{rng.choice(_WORDS)}()</code></a>'
            parts.append(f"<p>{_said(rng, 14)} {link} {_said(rng, 10)}.</p>")
            if p == PARAGRAPHS // 2:
                parts.append(f"<pre><span>&gt;&gt;&gt;</span> <b>{rng.choice(_WORDS)}</b>({rng.randint(1, 99)})</pre>")
        parts.append("</section>")
    return _page("Documentation", f"<h1>Documentation</h1><nav><ul>{contents}</ul></nav>{''.join(parts)}")


def table() -> str:
    """Return a table of records with a link and a button in every row."""
    rng = Random("table")
    head = "".join(f"<th>{name}</th>" for name in ("Number", "Name", "City", "Date", "State", "Sum", ""))
    rows = [
        f'<tr><td><a href="/r/{n}">{10_000 + n}</a></td><td>{_said(rng, 2)}</td><td>{_said(rng, 1)}</td><td>2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}</td>'
        f"<td>{rng.choice(('open', 'paid', 'late'))}</td><td>{rng.randint(1, 9999)}.{rng.randint(0, 99):02}</td><td><button>Edit</button></td></tr>"
        for n in range(ROWS)
    ]
    return _page(
        "Records", f"<h1>Records</h1><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def frames() -> str:
    """Return a page of frames, each with a small form."""
    return _page("Frames", "".join(f'<iframe src="/frame/{n}" width=300 height=90></iframe>' for n in range(FRAMES)))


def _frame(number: str) -> str:
    return _page(
        f"Frame {number}", f"<p>Part {number}</p><input placeholder='Note {number}'><button>Save {number}</button>"
    )


def shadows() -> str:
    """Return a page whose contents lie in open and closed shadow trees, nested, with slots."""
    cards = "".join(
        f"<x-card data-mode={'closed' if n % 2 else 'open'}><b slot=name>Card {n}</b></x-card>" for n in range(CARDS)
    )
    script = """<script>
class Note extends HTMLElement { constructor() { super();
  this.attachShadow({ mode: "open" }).innerHTML = "<label>Note <input></label>"; } }
class Card extends HTMLElement { connectedCallback() {
  const root = this.attachShadow({ mode: this.dataset.mode });
  root.innerHTML = "<h3><slot name=name></slot></h3><x-note></x-note><button>Keep</button> <a href='/more'>More</a>"; } }
customElements.define("x-note", Note); customElements.define("x-card", Card);
</script>"""
    return _page("Cards", f"<h1>Cards</h1>{script}{cards}")


class Pages:
    """Serves them while it is open: `with Pages() as pages`, then `pages.url("list")`."""

    def __init__(self) -> None:
        self.texts = {
            "list": products(),
            "long": documentation(),
            "table": table(),
            "frames": frames(),
            "shadow": shadows(),
        }
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self.texts))
        self._server.daemon_threads = True

    def url(self, name: str) -> str:
        """Return a page's address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="pages", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, texts: dict[str, str], *args: object) -> None:
        self._texts = texts
        super().__init__(*args)  # type: ignore[arg-type]  # the server's own arguments

    def handle_one_request(self) -> None:
        """Answer, if there is still somebody to answer."""
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True  # the page was closed while it was loading

    def do_GET(self) -> None:
        """Answer."""
        name, _, number = self.path.strip("/").partition("?")[0].partition("/")
        text = _frame(number) if name == "frame" else self._texts.get(name, _page("Other", "<p>Nothing here</p>"))
        content = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it overrides
        """Say nothing."""
