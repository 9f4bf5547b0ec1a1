// Roles and names of elements, by the rules of HTML-AAM and ACCNAME as far as they matter for reading a page.

const ROLES = {
    A: "link", AREA: "link", BUTTON: "button", TEXTAREA: "textbox", OPTION: "option", SUMMARY: "button", IMG: "image",
    TABLE: "table", TR: "row", TD: "cell", TH: "columnheader", UL: "list", OL: "list", LI: "listitem", NAV: "navigation",
    MAIN: "main", FORM: "form", DIALOG: "dialog", HEADER: "banner", FOOTER: "contentinfo", ASIDE: "complementary",
    PROGRESS: "progressbar", METER: "meter", OUTPUT: "status", IFRAME: "iframe", VIDEO: "video", AUDIO: "audio",
    H1: "heading", H2: "heading", H3: "heading", H4: "heading", H5: "heading", H6: "heading", LABEL: "label",
};
const INPUTS = {
    button: "button", submit: "button", reset: "button", image: "button", checkbox: "checkbox", radio: "radio",
    range: "slider", number: "spinbutton", search: "searchbox", file: "file", color: "color", date: "date",
    time: "time", "datetime-local": "datetime", month: "month", week: "week", hidden: "",
};
const WIDGETS = new Set([
    "link", "button", "textbox", "searchbox", "checkbox", "radio", "combobox", "listbox", "option", "slider", "spinbutton",
    "switch", "tab", "menuitem", "menuitemcheckbox", "menuitemradio", "treeitem", "file", "color", "date", "time",
    "datetime", "month", "week", "gridcell", "scrollbar", "clickable", "video", "audio",
]);
const NAMED_BY_CONTENT = new Set([
    "link", "button", "option", "tab", "menuitem", "menuitemcheckbox", "menuitemradio", "treeitem", "heading", "switch",
    "clickable", "checkbox", "radio", "label", "gridcell", "cell", "columnheader",
]);
const SKIPPED = new Set(["SCRIPT", "STYLE", "TEMPLATE", "NOSCRIPT", "HEAD", "LINK", "META", "TITLE", "BASE", "SOURCE", "TRACK", "PARAM"]);
const NAME_CHARS = 120;

const squeeze = (text) => text.replace(/\s+/g, " ").trim();
const shorten = (text, most = NAME_CHARS) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function roleOf(element) {
    const given = element.getAttribute("role");
    if (given) {
        const first = given.trim().split(/\s+/)[0];
        if (first && first !== "none" && first !== "presentation") return first;
    }
    const tag = element.tagName;
    if (tag === "INPUT") {
        const type = element.type;
        return type in INPUTS ? INPUTS[type] : element.list ? "combobox" : "textbox";
    }
    if (tag === "SELECT") return element.multiple || element.size > 1 ? "listbox" : "combobox";
    if (tag === "A" && !element.hasAttribute("href")) return "";
    if (element.isContentEditable && !(element.parentElement && element.parentElement.isContentEditable)) return "textbox";
    return ROLES[tag.toUpperCase()] || "";
}

// Children as they are shown: a shadow tree in its host's place, what is slotted in its slot's.
function childrenOf(node) {
    const root = node.shadowRoot || shadows.get(node);
    if (root) return root.childNodes;
    if (node.tagName === "SLOT") {
        const given = node.assignedNodes();
        if (given.length) return given;
    }
    return node.childNodes;
}

function parentOf(node) {
    if (node.assignedSlot) return node.assignedSlot;
    const parent = node.parentNode;
    return parent instanceof ShadowRoot ? parent.host : parent;
}

function textOf(node, most = NAME_CHARS) {
    let text = "";
    const pile = [node];
    while (pile.length && text.length < most * 2) {
        const item = pile.pop();
        if (item.nodeType === 3) { text += item.data; continue; }
        if (item.nodeType !== 1 || SKIPPED.has(item.tagName)) continue;
        if (item !== node && !shown(item)) continue;
        if (item.tagName === "IMG") { text += ` ${item.alt || ""} `; continue; }
        if (item.tagName === "SELECT" || item.tagName === "TEXTAREA") continue;
        const children = childrenOf(item);
        for (let n = children.length - 1; n >= 0; n--) pile.push(children[n]);
        if (item !== node && text && !/\s$/.test(text) && !isInline(item)) text += " ";
    }
    return shorten(squeeze(text), most);
}

function nameOf(element, role) {
    const by = element.getAttribute("aria-labelledby");
    if (by) {
        const root = element.getRootNode();
        const texts = by.split(/\s+/).map((id) => root.getElementById && root.getElementById(id)).filter(Boolean);
        const name = squeeze(texts.map((one) => textOf(one)).join(" "));
        if (name) return shorten(name);
    }
    const label = element.getAttribute("aria-label");
    if (label && label.trim()) return shorten(squeeze(label));
    if (element.tagName === "INPUT" && ["submit", "button", "reset"].includes(element.type)) {
        return shorten(squeeze(element.value || (element.type === "button" ? "" : element.type)));
    }
    if (element.alt) return shorten(squeeze(element.alt));
    if (element.labels && element.labels.length) {
        const name = squeeze([...element.labels].map((one) => textOf(one)).join(" "));
        if (name) return shorten(name);
    }
    if (NAMED_BY_CONTENT.has(role)) {
        const name = textOf(element);
        if (name) return name;
    }
    const title = element.getAttribute("placeholder") || element.getAttribute("title");
    if (title) return shorten(squeeze(title));
    if (element.namespaceURI === "http://www.w3.org/2000/svg") {
        const told = element.querySelector("title");
        if (told) return shorten(squeeze(told.textContent));
    }
    return "";
}

function shown(element) {
    return element.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: false });
}

function isInline(element) {
    const display = getComputedStyle(element).display;
    return display.startsWith("inline") || display === "contents";
}

function isDisabled(element) {
    return element.matches(":disabled") || element.getAttribute("aria-disabled") === "true";
}

// What a person can point at: a widget, or something that listens. The pointer's shape tells of listeners further up.
function kindOf(element, role) {
    if (WIDGETS.has(role)) return role;
    if (listening.has(element) || element.onclick || element.onmousedown || element.onpointerdown || element.draggable === true
        && element.tagName !== "IMG" && element.tagName !== "A") {
        return element === document.body || element === document.documentElement ? "" : "clickable";
    }
    const tab = element.getAttribute("tabindex");
    return tab !== null && Number(tab) >= 0 ? "clickable" : "";
}
