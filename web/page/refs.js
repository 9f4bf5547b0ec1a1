// References: a number for every element that was shown, kept until the element is gone and never given to another one.

const numbers = new WeakMap();
const elements = new Map();
let nextNumber = 1;

function refOf(element) {
    let number = numbers.get(element);
    if (number === undefined) {
        number = nextNumber++;
        numbers.set(element, number);
        elements.set(number, new WeakRef(element));
    }
    return number;
}

function elementOf(number) {
    const found = elements.get(number);
    const element = found && found.deref();
    return element && element.isConnected ? element : null;
}

// The number of what a selector finds, if it has been shown.
function numberOf(selector) {
    let found = document.querySelector(selector);
    if (!found) for (const node of composed(document.documentElement)) {
        if (node.nodeType === 1 && node.matches(selector)) { found = node; break; }
    }
    const number = found && numbers.get(found);
    return number === undefined ? null : number;
}

function* composed(top) {
    const pile = [top];
    while (pile.length) {
        const node = pile.pop();
        yield node;
        if (node.nodeType === 1 || node.nodeType === 9) {
            const children = childrenOf(node);
            for (let n = children.length - 1; n >= 0; n--) pile.push(children[n]);
        }
    }
}

// Where an element is, in words that find it in an equal document: paths of child numbers, from shadow root to shadow root.
function pathOf(element) {
    const parts = [];
    let steps = [];
    let node = element;
    while (node) {
        const parent = node.parentNode;
        if (!parent) break;
        const place = Array.prototype.indexOf.call(parent.children, node) + 1;
        steps.unshift(`${node.localName.replace(/[^\w-]/g, "\\$&")}:nth-child(${place})`);
        if (parent instanceof ShadowRoot) {
            parts.unshift(steps.join(">"));
            steps = [];
            node = parent.host;
        } else if (parent.nodeType === 9) {
            break;
        } else {
            node = parent;
        }
    }
    parts.unshift(steps.join(">"));
    return parts;
}

function byPath(parts) {
    let root = document;
    for (const [n, part] of parts.entries()) {
        let found = null;
        // A path begins with a child of its root, which no selector can say of a shadow root: the whole way is compared.
        for (const one of root.querySelectorAll(part)) {
            if (pathOf(one).at(-1) === part) { found = one; break; }
        }
        if (!found) return null;
        if (n === parts.length - 1) return found;
        root = found.shadowRoot || shadows.get(found);
        if (!root) return null;
    }
    return null;
}

function descriptionOf(element) {
    const role = kindOf(element, roleOf(element)) || roleOf(element) || element.localName;
    return { path: pathOf(element), role, name: nameOf(element, role) };
}

// The recorded element in this document: at its path if it is the same there, else the only one of its role and name.
function find(wanted) {
    const same = (element) => {
        const own = descriptionOf(element);
        return own.role === wanted.role && own.name === wanted.name;
    };
    const there = byPath(wanted.path);
    if (there && same(there)) return { ref: refOf(there) };
    const others = [];
    for (const node of composed(document.documentElement)) {
        if (node.nodeType === 1 && !SKIPPED.has(node.tagName) && same(node)) others.push(node);
        if (others.length > 1) break;
    }
    if (others.length === 1) return { ref: refOf(others[0]) };
    const now = there ? descriptionOf(there) : null;
    return { ref: null, instead: now ? `${now.role} ${JSON.stringify(now.name)}` : "nothing", alike: others.length };
}

// --- fingerprint ---

// Identifiers and tokens that a server or a script makes up anew for every load, and what the fields' own state tells better.
const UNSEALED = new Set(["id", "nonce", "integrity", "value", "checked", "selected", "content", "srcdoc"]);
const MADE_UP = /\d{5}|[\w-]{25}/; // times, hashes: no words of a state

const VALUED = new Set(["INPUT", "TEXTAREA", "SELECT", "OPTION", "PROGRESS", "METER"]);

function sealed(name, value) {
    if (UNSEALED.has(name) || name.startsWith("on")) return false;
    return !name.startsWith("data-") || !MADE_UP.test(value);
}

// The element with the focus, in whatever shadow tree it lies.
function activeElement() {
    let element = document.activeElement;
    while (element) {
        const root = element.shadowRoot || shadows.get(element);
        if (!root || !root.activeElement) break;
        element = root.activeElement;
    }
    return element;
}

// What of an element no attribute tells: what fields hold, where the caret is, what is scrolled, what lies on top.
function conditionOf(node, active) {
    let told = "";
    if (VALUED.has(node.tagName)) {
        if (typeof node.value === "string") told += `=${node.value}`;
        if (node.checked || node.selected) told += " on";
        if (node.indeterminate) told += " mixed";
    }
    if (node === active) told += ` focus ${caretOf(node)}`;
    if (node.scrollTop) told += ` top ${Math.round(node.scrollTop / 10)}`;
    if (node.scrollLeft) told += ` left ${Math.round(node.scrollLeft / 10)}`;
    if (node.tagName === "DIALOG" && node.matches(":modal")) told += " modal";
    if (node.popover && node.matches(":popover-open")) told += " popover";
    return told;
}

// What the next key would replace, or where it would go.
function caretOf(field) {
    try {
        return typeof field.selectionStart === "number" ? `${field.selectionStart}-${field.selectionEnd}` : "";
    } catch {
        return ""; // kinds of fields that have none
    }
}

// A 53-bit hash (cyrb53) of the document as a reader could see it, form contents and scroll position included, and the
// place of every reference in it.
function seal() {
    let a = 0xdeadbeef, b = 0x41c6ce57;
    const add = (text) => {
        for (let n = 0; n < text.length; n++) {
            const code = text.charCodeAt(n);
            a = Math.imul(a ^ code, 2654435761);
            b = Math.imul(b ^ code, 1597334677);
        }
        a = Math.imul(a ^ 0x1f, 2654435761);
        b = Math.imul(b ^ 0x1f, 1597334677);
    };
    const refs = [];
    let place = -1;
    const active = activeElement();
    const ignored = SETTINGS.ignore.length ? SETTINGS.ignore.join(",") : null;
    const pile = document.documentElement ? [document.documentElement] : [];
    while (pile.length) {
        const node = pile.pop();
        if (node.nodeType === 3) {
            const text = squeeze(node.data);
            if (text) add(text);
            continue;
        }
        if (node.nodeType !== 1 || SKIPPED.has(node.tagName)) continue;
        if (node.tagName === "INPUT" && node.type === "hidden") continue; // tokens of forms differ from load to load
        place += 1;
        const number = numbers.get(node);
        if (number !== undefined) refs.push([number, place]);
        if (ignored && node.matches(ignored)) continue;
        add(node.localName);
        for (const { name, value } of node.attributes) if (sealed(name, value)) add(`${name}=${value}`);
        const condition = conditionOf(node, active);
        if (condition) add(condition);
        const children = childrenOf(node);
        for (let n = children.length - 1; n >= 0; n--) pile.push(children[n]);
    }
    add(location.href);
    add(document.title);
    const hash = 4294967296 * (2097151 & (b ^ (b >>> 15))) + ((a ^ (a >>> 13)) >>> 0);
    return { hash: hash.toString(36), refs: refs.map((pair) => pair.join(":")).join(" "), next: nextNumber, busy: busy() };
}

// Gives the elements of an equal document the references that they had in the original.
function adopt(refs, next) {
    const byPlace = new Map(refs.map(([number, place]) => [place, number]));
    const ignored = SETTINGS.ignore.length ? SETTINGS.ignore.join(",") : null;
    let place = -1;
    const pile = document.documentElement ? [document.documentElement] : [];
    elements.clear();
    while (pile.length) {
        const node = pile.pop();
        if (node.nodeType !== 1 || SKIPPED.has(node.tagName)) continue;
        if (node.tagName === "INPUT" && node.type === "hidden") continue;
        place += 1;
        numbers.delete(node);
        const number = byPlace.get(place);
        if (number !== undefined) { numbers.set(node, number); elements.set(number, new WeakRef(node)); }
        if (ignored && node.matches(ignored)) continue;
        const children = childrenOf(node);
        for (let n = children.length - 1; n >= 0; n--) pile.push(children[n]);
    }
    nextNumber = next;
    return elements.size;
}
