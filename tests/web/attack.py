"""A page that tries every way out that a page has."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from branchwise.core.errors import ActionFailed
from branchwise.web import Goto, Policy, Tab, Wait, WebSandboxes

from .hand import do
from .small_site import SmallSite

WAYS = """<!doctype html><title>Ways out</title>
<link rel="stylesheet" href="OUT/css"><link rel="prefetch" href="OUT/prefetch"><link rel="preconnect" href="OUT">
<link rel="dns-prefetch" href="//somewhere.invalid"><link rel="icon" href="OUT/icon">
<img src="OUT/img"><img src="/away"><iframe src="OUT/frame"></iframe><iframe src="/away"></iframe>
<script src="OUT/script"></script><object data="OUT/object"></object><video src="OUT/video"></video>
<iframe src="data:text/html,<img src='OUT/from-data'><script>fetch('OUT/fetch-data',{mode:'no-cors'})</script>"></iframe>
<iframe srcdoc="<img src='OUT/from-srcdoc'>"></iframe>
<style>@import url(OUT/import); @font-face { font-family: far; src: url(OUT/font); } #far { font-family: far; cursor: url(OUT/cursor), auto; }
#far::before { content: url(OUT/content); }</style><div id="far">far</div>
<link rel="preload" as="image" href="OUT/preload"><link rel="modulepreload" href="OUT/modulepreload"><link rel="manifest" href="OUT/manifest">
<link rel="prerender" href="OUT/prerender"><script type="speculationrules">{"prefetch": [{"source": "list", "urls": ["OUT/speculation"]}]}</script>
<img srcset="OUT/srcset 1x"><input type="image" src="OUT/input"><video poster="OUT/poster"></video><audio src="OUT/audio"></audio>
<video><track default src="OUT/track"></video><embed src="OUT/embed"><table background="OUT/table"><tr><td>x</table>
<svg><image href="OUT/svg-image" width="9" height="9"/><use href="OUT/svg-use#a"/></svg>
<form id="post" method="post" action="OUT/post" target="posted"><input name="a" value="b"></form><iframe name="posted"></iframe>
<a id="download" href="OUT/list.csv" target="got">Get</a><iframe name="got"></iframe><a href="OUT/blank" target="_blank">Blank</a>
<button onclick="window.open('OUT/popup')">Pop</button>
<div style="background:url(OUT/background)">x</div><a id="ping" href="#here" ping="OUT/ping">Ping</a>
<form id="form" action="OUT/form" target="into"><input name="a" value="b"></form><iframe name="into"></iframe>
<button onclick="location = 'OUT/left'">Leave</button>
<script>
const out = "OUT", tries = [];
const attempt = (work) => { try { tries.push(Promise.resolve(work()).catch(() => 0)); } catch { } };
attempt(() => fetch(out + "/fetch", { mode: "no-cors" }));
attempt(() => fetch("/away", { mode: "no-cors" }));
attempt(() => fetch(out + "/keepalive", { mode: "no-cors", keepalive: true }));
attempt(() => navigator.sendBeacon(out + "/beacon", "x"));
attempt(() => new Promise((done) => { const socket = new WebSocket(out.replace("http", "ws") + "/socket"); socket.onerror = socket.onopen = done; }));
attempt(() => new Promise((done) => { const source = new EventSource(out + "/events"); source.onerror = () => { source.close(); done(); }; }));
attempt(() => { const worker = new Worker(URL.createObjectURL(new Blob([`fetch('${out}/worker', { mode: 'no-cors' })`]))); });
attempt(() => navigator.serviceWorker && navigator.serviceWorker.register("/worker.js"));
attempt(() => { const frame = document.createElement("iframe"); document.body.append(frame);
  const Peer = window.RTCPeerConnection || frame.contentWindow.RTCPeerConnection;
  const peer = new Peer({ iceServers: [{ urls: "stun:127.0.0.2:UDP" }] }); peer.createDataChannel("x");
  return peer.createOffer().then((offer) => peer.setLocalDescription(offer)); });
attempt(() => import(out + "/module"));
attempt(() => new Promise((done) => { const asked = new XMLHttpRequest(); asked.onloadend = done; asked.open("GET", out + "/xhr"); asked.send(); }));
attempt(() => { new Image().src = out + "/image"; });
attempt(() => { new Worker(URL.createObjectURL(new Blob([`importScripts('${out}/imported')`]))); });
attempt(() => { new SharedWorker(URL.createObjectURL(new Blob([`fetch('${out}/shared', { mode: 'no-cors' })`]))); });
attempt(() => { const blob = document.createElement("iframe"); document.body.append(blob);
  blob.src = URL.createObjectURL(new Blob([`<img src='${out}/from-blob'><script>fetch('${out}/fetch-blob', { mode: 'no-cors' })<\\/script>`], { type: "text/html" })); });
attempt(() => { const frame = document.createElement("iframe"); frame.src = `javascript:"<img src='${out}/from-javascript'>"`; document.body.append(frame); });
attempt(() => fetchLater(out + "/fetch-later", { activateAfter: 0 }));
attempt(() => document.getElementById("download").click());
attempt(() => document.getElementById("post").submit());
attempt(() => document.getElementById("ping").click());
attempt(() => document.getElementById("form").submit());
attempt(() => { const meta = document.createElement("iframe"); meta.srcdoc = `<meta http-equiv=refresh content="0;url=${out}/refresh">`; document.body.append(meta); });
Promise.all(tries).then(() => setTimeout(() => { document.title = "Tried"; }, 250));
</script>"""

SENDING = Policy(words="", methods=None)

_NAMES = """
    css import font img srcset image preload modulepreload script module input poster video audio embed object table background
    svg-image frame from-data fetch-data from-srcdoc from-blob fetch-blob from-javascript fetch xhr keepalive beacon ping socket
    events worker imported shared form post refresh list.csv
"""
ARRIVING = frozenset(f"/{name}" for name in _NAMES.split())
"""Where the page gets to by itself if it may."""


async def try_all(
    start: Callable[..., Awaitable[WebSandboxes]],
    site: SmallSite,
    port: int,
    arriving: frozenset[str] = frozenset(),
    **settings: object,
) -> None:
    """Open the page, wait until it has tried everything, then leave by a click and by the agent's own wish.

    Args:
        start: starts a supply.
        site: serves the page.
        port: where datagrams are waited for.
        arriving: what has to have arrived at the other address before the page is left.
        **settings: of the browser.
    """
    site.pages["/ways"] = WAYS.replace("OUT", site.elsewhere).replace("UDP", str(port))
    env = await (await start("/ways", policy=SENDING, settle_seconds=0.5, **settings)).open()
    await env.observe()
    for _ in range(50):
        if await env.evaluate("document.title") == "Tried" and arriving <= {hit[2] for hit in site.strayed}:
            break
        await env.act(Wait(seconds=0.1))
    for way in ('"Pop"', '"Blank"'):
        await do(env, way)
        while len((await env.observe()).tabs) > 1:
            await env.act(Tab(number=2, close=True))
    await do(env, '"Leave"')
    with contextlib.suppress(ActionFailed):
        await env.act(Goto(url=site.elsewhere + "/asked"))
    await env.close()
