// What has to be in place before a page's own scripts run. All of these files share one function scope per document.
"use strict";

const shadows = new WeakMap(); // closed shadow roots by host, open ones too
const listening = new WeakSet(); // elements that somebody listens to for pointers or keys
const POINTING = new Set(["click", "dblclick", "mousedown", "mouseup", "pointerdown", "pointerup", "touchstart", "dragstart"]);
const TIMER_MS = 300; // a longer one is no part of what an action does
const now = performance.now.bind(performance);
const later = window.setTimeout.bind(window);
const pending = { requests: 0, timers: 0 };
let changedAt = now();

const watch = new MutationObserver(() => { changedAt = now(); });
const WATCHED = { subtree: true, childList: true, attributes: true, characterData: true };
watch.observe(document, WATCHED);

const attachShadow = Element.prototype.attachShadow;
Element.prototype.attachShadow = function (options) {
    const root = attachShadow.call(this, options);
    shadows.set(this, root);
    watch.observe(root, WATCHED);
    changedAt = now();
    return root;
};

const addListener = EventTarget.prototype.addEventListener;
EventTarget.prototype.addEventListener = function (type, listener, options) {
    if (this instanceof Element && listener && POINTING.has(type)) listening.add(this);
    return addListener.call(this, type, listener, options);
};

// Short timers that are set while no timer runs belong to what is going on; those that set themselves again are clocks.
let inTimer = false;
const clearTimer = window.clearTimeout.bind(window);
const counted = new Set();
window.setTimeout = function (callback, delay, ...rest) {
    if (typeof callback !== "function") return later(callback, delay, ...rest);
    const counts = !inTimer && !(delay > TIMER_MS);
    const id = later((...args) => {
        if (counted.delete(id)) pending.timers -= 1;
        const outer = inTimer;
        inTimer = true;
        try { callback.apply(window, args); } finally { inTimer = outer; }
    }, delay, ...rest);
    if (counts) { counted.add(id); pending.timers += 1; }
    return id;
};
window.clearTimeout = function (id) {
    if (counted.delete(id)) pending.timers -= 1;
    return clearTimer(id);
};

const ended = () => { pending.requests -= 1; changedAt = now(); };
const fetchIt = window.fetch;
if (fetchIt) window.fetch = function (...args) {
    pending.requests += 1;
    const reply = fetchIt.apply(this, args);
    reply.then(ended, ended);
    return reply;
};
const send = XMLHttpRequest.prototype.send;
XMLHttpRequest.prototype.send = function (...args) {
    pending.requests += 1;
    addListener.call(this, "loadend", ended, { once: true });
    try { return send.apply(this, args); } catch (error) { ended(); throw error; }
};

// A second wall beside the browser's own policy: what speaks UDP past any proxy is not there at all.
for (const name of ["RTCPeerConnection", "webkitRTCPeerConnection", "RTCDataChannel", "WebTransport"]) delete window[name];

if (SETTINGS.seed !== null) {
    // mulberry32 over the address: the same page draws the same numbers whenever it is loaded.
    let state = SETTINGS.seed >>> 0;
    for (const letter of location.href) state = Math.imul(state ^ letter.codePointAt(0), 0x9e3779b1) >>> 0;
    Math.random = function random() {
        state = (state + 0x6d2b79f5) >>> 0;
        let x = Math.imul(state ^ (state >>> 15), state | 1);
        x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
        return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
    };
}

// Tabs that are on their way: their own events come late.
let opening = 0;
const openIt = window.open;
window.open = function (...args) {
    const opened = openIt.apply(this, args);
    if (opened) opening += 1;
    return opened;
};
const elsewhere = (target) => target && !["_self", "_top", "_parent"].includes(target) && !window.frames[target];
for (const type of ["click", "auxclick", "submit"]) {
    addListener.call(window, type, (event) => {
        const path = event.composedPath();
        const origin = type === "submit" ? path[0] : path.find((node) => node.tagName === "A" && node.hasAttribute("href"));
        if (!origin || !elsewhere(origin.getAttribute("target"))) return;
        later(() => { if (!event.defaultPrevented) opening += 1; }, 0);
    }, true);
}

// Whether something is going on that belongs to what was done last.
function busy() {
    const moving = document.getAnimations ? document.getAnimations().some(finite) : false;
    return pending.requests > 0 || pending.timers > 0 || moving || document.readyState !== "complete";
}

// Resolves once nothing has happened for a while: no change, no request or short timer of the page, no finite animation.
function settle(quietMs, capMs) {
    const begun = now();
    changedAt = Math.max(changedAt, begun);
    return new Promise((resolve) => {
        const look = () => {
            const time = now();
            const working = busy();
            const quiet = time - changedAt;
            const rest = !working && quiet >= quietMs;
            if (rest || time - begun >= capMs) {
                resolve({ settled: rest, opening });
                opening = 0;
            }
            else later(look, working ? 15 : Math.max(2, Math.min(15, quietMs - quiet)));
        };
        later(look, quietMs);
    });
}

function finite(animation) {
    if (animation.playState !== "running" || !animation.effect) return false;
    const end = animation.effect.getComputedTiming().endTime;
    return Number.isFinite(Number(end)) && Number(end) < 2000;
}
