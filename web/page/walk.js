// The page as lines of text, one screen around what is in view unless asked for more.

const BLOCKS = new Set((
    "ADDRESS ARTICLE ASIDE BLOCKQUOTE BODY CAPTION DD DETAILS DIALOG DIV DL DT FIELDSET FIGCAPTION FIGURE FOOTER FORM H1 H2 H3 " +
    "H4 H5 H6 HEADER HR HTML LEGEND LI MAIN NAV OL OPTGROUP P PRE SECTION SUMMARY TABLE TBODY TFOOT THEAD TR UL BR"
).split(" "));
const NESTED = "a[href],button,input:not([type=hidden]),select,textarea,[role=button],[role=link],[role=checkbox],[role=menuitem],[tabindex]";
const DEPTH = 400;
const TEXT_CHARS = 800;
const OPTIONS = 12;

const quoted = (text) => JSON.stringify(text);
// Nothing that a page says looks like a reference or like the fence around it.
const tame = (text) => text.replace(/\[(?=(f\d+)?e\d+\])/g, "(").replace(/(<<<|>>>)/g, "…");

function stateOf(element, role) {
    const parts = [];
    const tag = element.tagName;
    if (tag === "SELECT") {
        const chosen = [...element.selectedOptions].map((option) => squeeze(option.label));
        parts.push(`= ${quoted(shorten(chosen.join(", "), 60))}`);
        const labels = [...element.options].map((option) => shorten(squeeze(option.label), 30));
        const more = labels.length > OPTIONS ? ` | +${labels.length - OPTIONS}` : "";
        parts.push(`of ${labels.slice(0, OPTIONS).join(" | ")}${more}`);
    } else if (role === "textbox" || role === "searchbox" || tag === "TEXTAREA" || (tag === "INPUT" && element.value
        && !["checkbox", "radio", "submit", "button", "reset", "image", "file"].includes(element.type))) {
        const value = "value" in element ? element.value : textOf(element);
        if (value) parts.push(element.type === "password" ? "(filled)" : `= ${quoted(shorten(squeeze(value), 80))}`);
    }
    if (element.type === "file" && element.files && element.files.length) parts.push(`= ${quoted(element.files[0].name)}`);
    const checked = "checked" in element && /checkbox|radio/.test(element.type || "") ? element.checked : element.getAttribute("aria-checked") === "true";
    if (checked) parts.push("checked");
    if (element.getAttribute("aria-selected") === "true" || (tag === "OPTION" && element.selected)) parts.push("selected");
    if (element.getAttribute("aria-pressed") === "true") parts.push("pressed");
    const expanded = element.getAttribute("aria-expanded") || (tag === "SUMMARY" && element.parentElement.open ? "true" : null);
    if (expanded) parts.push(expanded === "true" ? "expanded" : "collapsed");
    if (element.required && "value" in element && !element.value) parts.push("required");
    if (element.readOnly) parts.push("readonly");
    if (isDisabled(element)) parts.push("disabled");
    if (element === focused) parts.push("focused");
    return parts.length ? ` ${parts.join(" ")}` : "";
}

// What tells a nameless thing from its neighbours: its shape, its colour, what its class calls it.
function hintOf(element) {
    const parts = [];
    if (element.form !== undefined && element.tagName !== "BUTTON") {
        const own = element.getAttribute("name") || element.id;
        if (own) return ` (${tame(shorten(squeeze(own), 40))})`;
    }
    const style = getComputedStyle(element);
    if (element.namespaceURI === "http://www.w3.org/2000/svg") {
        parts.push(element.localName);
        if (style.fill && style.fill !== "none") parts.push(style.fill);
    } else {
        if (style.backgroundColor !== "rgba(0, 0, 0, 0)") parts.push(style.backgroundColor);
        if (element.tagName === "CANVAS") parts.push("canvas");
    }
    const inner = element.querySelector("img,svg,i,[class*=icon]");
    const named = (inner && (inner.getAttribute("class") || inner.getAttribute("src"))) || element.getAttribute("class") || element.id;
    if (named) parts.push(shorten(squeeze(String(named).split("/").at(-1)), 40));
    if (!named) {
        const box = element.getBoundingClientRect();
        parts.push(`${Math.round(box.width)}x${Math.round(box.height)} at ${Math.round(box.x)},${Math.round(box.y)}`);
    }
    return ` (${tame(parts.join(", "))})`;
}

// Where a link leads, under what name. A picture and a title that lead to the same place under the same name are told once.
const NOWHERE = { place: "", picture: false };

function leadOf(node) {
    const [address] = node.href ? String(node.href).split("#") : [""];
    const name = nameOf(node, "link");
    if (!name || !/^https?:/.test(address) || address === location.href.split("#")[0] || listening.has(node)) return NOWHERE;
    return { place: `${node.href} ${name}`, picture: !node.textContent.trim() };
}

let focused = null;

function observe(options) {
    nextNumber = Math.max(nextNumber, options.next);
    focused = activeElement();
    if (focused === document.body) focused = null;
    const height = window.innerHeight;
    const top = options.whole ? -Infinity : -height * options.screens;
    const bottom = options.whole ? Infinity : height * (1 + options.screens);
    const lines = [];
    const frames = []; // before which line each lies, its number, its reference
    const out = { above: 0, below: 0 };
    let line = "";

    const flush = () => {
        const text = line.trim().replace(/^- (?=\[(?:f\d+)?e\d+\])/, ""); // a reference begins an item well enough
        if (text && text !== "-" && text !== "|") lines.push(text);
        line = "";
    };
    const say = (text) => {
        if (!text) return;
        line += line && !/[\s(]$/.test(line) && !/^[\s.,;:)!?]/.test(text) ? ` ${text}` : text;
    };
    let link = NOWHERE;
    const mark = (element, role, label) => {
        const name = label === undefined ? nameOf(element, role) : label;
        const ref = `[${options.prefix}e${refOf(element)}]`;
        let told = name ? ` ${tame(quoted(name))}` : label === undefined ? hintOf(element) : "";
        // What has no role and one word to tell it by is told like a class: [e3].trash
        if (role === "clickable") told = told.replace(/^ \(([\w-]+)\)$/, ".$1");
        say(`${ref}${role === "clickable" ? "" : ` ${role}`}${told}${tame(stateOf(element, role))}`);
    };

    const outside = (element) => {
        const box = element.getBoundingClientRect();
        if (box.width === 0 || box.height === 0) return false;
        if (box.bottom < top) { out.above += 1; return true; }
        if (box.top > bottom) { out.below += 1; return true; }
        return false;
    };

    const visit = (node, depth, muted) => {
        if (node.nodeType === 3) {
            if (muted) return;
            const text = node.data.replace(/\s+/g, " ");
            if (text === " ") { if (line && !line.endsWith(" ")) line += " "; return; }
            line += tame(shorten(text, TEXT_CHARS));
            return;
        }
        if (node.nodeType !== 1 || SKIPPED.has(node.tagName) || depth > DEPTH) return;
        const tag = node.tagName.toUpperCase();
        if (!node.checkVisibility()) {
            if (getComputedStyle(node).display === "contents") descend(node, depth, muted);
            return;
        }
        if (!shown(node)) { descend(node, depth, true); return; }
        const block = BLOCKS.has(tag);
        if (block || node.children.length === 0) {
            if (outside(node)) return;
        }
        if (block) flush();
        element(node, tag, depth, muted);
        if (block) flush();
    };

    const descend = (node, depth, muted) => {
        for (const child of childrenOf(node)) visit(child, depth + 1, muted);
    };

    const element = (node, tag, depth, muted) => {
        if (tag === "IFRAME" || tag === "FRAME") { flush(); frames.push([lines.length, frameIndex(node), refOf(node)]); return; }
        if (tag === "LABEL" && node.control) { label(node, depth); return; }
        const role = roleOf(node);
        const kind = kindOf(node, role);
        if (kind) { widget(node, tag, kind, depth, muted); return; }
        if (/^H[1-6]$/.test(tag)) line += `${"#".repeat(Number(tag[1]))} `;
        else if (tag === "LI") line += "- ";
        else if (tag === "TD" || tag === "TH") { if (line.trim()) line += " | "; }
        else if (tag === "IMG" || role === "img" || role === "image") {
            const name = nameOf(node, "image");
            if (name) say(tame(`image ${quoted(name)}`));
            if (tag === "IMG") return;
        } else if (tag === "CANVAS") { mark(node, "canvas"); return; }
        else if (role === "alert" || role === "status" || role === "dialog" || role === "alertdialog" || role === "tooltip") {
            flush(); line += `${role}: `;
        } else if (role === "progressbar" || role === "meter") {
            say(tame(`${role} ${quoted(nameOf(node, role))} ${squeeze(String(node.getAttribute("aria-valuenow") || node.value || ""))}`));
        }
        descend(node, depth, muted);
    };

    const widget = (node, tag, kind, depth, muted) => {
        if (tag === "INPUT" || tag === "SELECT" || tag === "TEXTAREA" || tag === "VIDEO" || tag === "AUDIO") { mark(node, kind); return; }
        const inner = childrenOf(node).length && (node.querySelector(NESTED) || [...node.children].some(reactive));
        if (!inner) {
            const before = link;
            link = kind === "link" ? leadOf(node) : NOWHERE;
            if (link.place && link.place === before.place && link.picture !== before.picture) return;
            mark(node, kind);
            return;
        }
        if (kind === "clickable") flush();
        mark(node, kind, node.getAttribute("aria-label") || "");
        line += kind === "clickable" ? ": " : " ";
        descend(node, depth, muted);
    };

    const reactive = (node) => {
        for (const one of composed(node)) if (one.nodeType === 1 && (listening.has(one) || one.onclick)) return true;
        return false;
    };

    // A label is told as its control's name; one whose control is not to be seen stands for it.
    const label = (node, depth) => {
        const control = node.control;
        if (!shown(control) || control.getBoundingClientRect().width < 2) {
            mark(node, roleOf(control) || "clickable", textOf(node));
            const state = stateOf(control, roleOf(control));
            if (state) line += state;
            return;
        }
        descend(node, depth, true);
    };

    if (document.body) visit(document.body, 0, false);
    flush();
    return {
        text: lines.join("\n"), // one text gets through to the other side much faster than many
        frames,
        next: nextNumber,
        title: tame(document.title.slice(0, 200)),
        url: location.href,
        index: ownIndex(),
        above: out.above,
        below: out.below,
        scroll: { y: Math.round(scrollY), height: document.documentElement ? document.documentElement.scrollHeight : 0, screen: height },
    };
}

// A frame's number among its parent's, the same seen from both sides and across origins; -1 in a shadow tree.
function frameIndex(element) {
    const inner = element.contentWindow;
    for (let n = 0; n < window.length; n++) if (window[n] === inner) return n;
    return -1;
}

function ownIndex() {
    if (window.parent === window) return -1;
    for (let n = 0; n < window.parent.length; n++) if (window.parent[n] === window) return n;
    return -1;
}
