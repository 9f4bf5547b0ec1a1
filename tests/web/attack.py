"""A page that tries every way out that a page has."""

from __future__ import annotations

WAYS = """<!doctype html><title>Ways out</title>
<link rel="stylesheet" href="OUT/css"><link rel="prefetch" href="OUT/prefetch"><link rel="preconnect" href="OUT">
<link rel="dns-prefetch" href="//somewhere.invalid"><link rel="icon" href="OUT/icon">
<img src="OUT/img"><img src="/away"><iframe src="OUT/frame"></iframe><iframe src="/away"></iframe>
<script src="OUT/script"></script><object data="OUT/object"></object><video src="OUT/video"></video>
<iframe src="data:text/html,<img src='OUT/from-data'><script>fetch('OUT/fetch-data',{mode:'no-cors'})</script>"></iframe>
<iframe srcdoc="<img src='OUT/from-srcdoc'>"></iframe>
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
attempt(() => document.getElementById("ping").click());
attempt(() => document.getElementById("form").submit());
attempt(() => { const meta = document.createElement("iframe"); meta.srcdoc = `<meta http-equiv=refresh content="0;url=${out}/refresh">`; document.body.append(meta); });
Promise.all(tries).then(() => setTimeout(() => { document.title = "Tried"; }, 250));
</script>"""
