"""A web server in a thread, with one page for everything that a browser has to cope with."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

MAIN = """<!doctype html><title>Main</title>
<h1>Things</h1><p>Hello <b>you</b>, see <a href="/second">the second page</a>.</p>
<form action="/second"><label>Name <input name="n" maxlength="20"></label> <label for="c">Agree</label><input type="checkbox" id="c">
<select name="s" aria-label="Colour"><option>red<option>blue</select><input type="date" name="d" aria-label="Day"><button>Go</button></form>
<button onclick="o.textContent += 'x'">Add</button><p id="o"></p>
<button onclick="if (confirm('Sure?')) this.textContent = 'Yes'">Ask</button>
<button onclick="alert('Note this'); this.textContent = 'Told'">Tell</button>
<button disabled>Never</button>
<button id="late" onclick="setTimeout(() => o.textContent = 'later', 200)">Later</button>
<button onclick="fetch('/json').then(r => r.json()).then(j => o.textContent = j.text)">Fetch</button>
<div id="tile" style="width:30px;height:30px;background:rgb(255, 0, 0)"></div>
<script>tile.addEventListener('click', () => o.textContent = 'tile')</script>
<span style="display:none"><a href="/hidden">Hidden</a></span>
"""
PARTS = """<!doctype html><title>Parts</title>
<a href="/list.csv">Get list</a> <a href="/second" target="_blank">Open</a>
<iframe src="/frame" style="border:7px solid; padding:3px"></iframe><x-box></x-box>
<input type="file" id="f" aria-label="File" onchange="n.textContent = this.files[0].name"><p id="n"></p>
<button onclick="f.click()">Choose</button>
<div id="d" draggable="true" style="width:60px">Parcel</div>
<div id="t" onclick="1" style="width:90px;height:30px" ondragover="event.preventDefault()" ondrop="this.textContent = 'Dropped'">Shelf</div>
<script>
class Box extends HTMLElement { constructor() { super(); const root = this.attachShadow({ mode: "closed" });
  root.innerHTML = '<button>Shadow</button><iframe src="/frame"></iframe>';
  root.querySelector("button").addEventListener("click", (event) => { event.target.textContent = "Lit"; }); } }
customElements.define("x-box", Box);
</script>
"""
COVERED = """<!doctype html><title>Covered</title><button>Under</button>
<div role="dialog" aria-label="Cookies" style="position:fixed;inset:0;background:#eee"><button onclick="this.parentNode.remove()">Accept all</button></div>
"""
SENDING = """<!doctype html><title>Sending</title>
<form method="post" action="/order"><button>Do it</button></form>
<button onclick="fetch('/api', { method: 'POST' }).then(() => this.textContent = 'Saved', () => this.textContent = 'Lost')">Keep</button>
<a href="/second">Delete everything</a> <button onclick="this.textContent += '!'">Harmless</button>
"""
FRAME = '<!doctype html><button onclick="this.textContent = \'In\'">Inner</button><input placeholder="City">'


class SmallSite:
    """Serves on 127.0.0.1, and as somebody else on 127.0.0.2 at the same port; counts who asked for what."""

    def __init__(self) -> None:
        self.hits: list[tuple[str, str, str]] = []
        """Method, address that was asked, path."""
        self.visits = itertools.count(1)
        self.on_post: Callable[[], None] = lambda: None
        """Called before a POST is answered."""
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), self._handler())]
        self.port = self._servers[0].server_port
        self._servers.append(ThreadingHTTPServer(("127.0.0.2", self.port), self._handler()))
        self.url = f"http://127.0.0.1:{self.port}"
        self.elsewhere = f"http://127.0.0.2:{self.port}"
        self.pages: dict[str, str] = {
            "/": MAIN,
            "/parts": PARTS,
            "/covered": COVERED,
            "/sending": SENDING,
            "/frame": FRAME,
        }

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def asked(self, method: str, path: str) -> int:
        """How often something was asked for."""
        return sum(hit[0] == method and hit[2] == path for hit in self.hits)

    @property
    def strayed(self) -> list[tuple[str, str, str]]:
        """What reached the other address."""
        return [hit for hit in self.hits if hit[1] == "127.0.0.2"]

    def reply(self, method: str, path: str, query: dict[str, list[str]]) -> tuple[int, str, str, dict[str, str]]:
        """Return status, kind, text and headers."""
        text = self.pages.get(path) if method == "GET" else None
        status, kind, headers = 200, "text/html", dict[str, str]()
        if text is not None:
            return status, kind, text, headers
        text = f"<!doctype html><title>Other</title><p>{method} {path}</p>"
        match path:
            case "/second":
                given = " ".join(f"{key}={value[0]}" for key, value in sorted(query.items()))
                text = f"<!doctype html><title>Second</title><h1>Second</h1><p>{given}</p><a href='/'>Main</a>"
            case "/list.csv":
                kind, text = "text/csv", "a,b\n1,2\n"
                headers = {"content-disposition": 'attachment; filename="list.csv"'}
            case "/json":
                time.sleep(0.15)  # a server that takes its time: what is tested is that its answer is waited for
                kind, text = "application/json", '{"text": "fetched"}'
            case "/early.svg" | "/late.svg":
                time.sleep(0.1 * (path == "/late.svg"))  # what is tested is that nothing is pressed before it is there
                kind, text = "image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg' width='60' height='30'/>"
            case "/count":
                text = f"<!doctype html><title>Count</title><p>visit {next(self.visits)}</p>"
            case "/away":
                status, headers = 302, {"location": f"{self.elsewhere}/stolen"}
            case _:
                pass
        return status, kind, text, headers

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                parts = urlsplit(self.path)
                site.hits.append((self.command, self.server.server_address[0], parts.path))  # type: ignore[arg-type]
                self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.command == "POST":
                    site.on_post()
                status, kind, text, headers = site.reply(self.command, parts.path, parse_qs(parts.query))
                self.send_response(status)
                for name, value in {"content-type": kind, "content-length": str(len(text.encode())), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = _serve  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        return Handler
