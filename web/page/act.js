// What an action needs to know of its target, and what is done to form controls.

function describe(element) {
    const own = descriptionOf(element);
    const form = element.form || element.closest("form");
    const submits = form && (element.type === "submit" || element.type === "image" || (element.tagName === "BUTTON" && element.type === "submit"));
    const link = element.closest("a[href]");
    return {
        ...own,
        tag: element.tagName,
        type: element.type || "",
        href: link ? link.href : "",
        method: submits ? (element.getAttribute("formmethod") || form.method || "get").toUpperCase() : "",
        enters: form ? (form.method || "get").toUpperCase() : "",
    };
}

// Where to point so that this element gets it, or why it would not.
async function locate(number, options) {
    const element = elementOf(number);
    if (!element) return { problem: "gone" };
    const told = describe(element);
    if (!element.checkVisibility()) {
        if (element.tagName === "OPTION") return { ...told, problem: "option" };
        return { ...told, problem: "hidden" };
    }
    if (options.enabled && isDisabled(element)) return { ...told, problem: "disabled" };
    if (!options.point) return told;
    await steady(element);
    let cover = null;
    for (const [x, y] of spots(element)) {
        const hit = deepest(x, y);
        if (!hit || belongs(hit, element)) return { ...told, x, y };
        cover = cover || hit;
    }
    if (!cover) return { ...told, problem: "hidden" };
    const inner = topmost(cover);
    return { ...told, problem: "covered", by: { ref: refOf(inner), role: kindOf(inner, roleOf(inner)) || roleOf(inner) || inner.localName, name: nameOf(inner, "button") || textOf(inner, 60) } };
}

async function steady(element) {
    const box = element.getBoundingClientRect();
    if (box.top < 0 || box.left < 0 || box.bottom > innerHeight || box.right > innerWidth || clipped(element)) {
        element.scrollIntoView({ block: "center", inline: "nearest", behavior: "instant" });
    }
    const began = now();
    while (document.getAnimations && document.getAnimations().some(finite) && now() - began < 500) {
        await new Promise((resolve) => later(resolve, 15));
    }
}

function clipped(element) {
    const box = element.getBoundingClientRect();
    for (let parent = parentOf(element); parent && parent.nodeType === 1; parent = parentOf(parent)) {
        if (parent.scrollHeight <= parent.clientHeight && parent.scrollWidth <= parent.clientWidth) continue;
        const outer = parent.getBoundingClientRect();
        if (box.top < outer.top || box.bottom > outer.bottom || box.left < outer.left || box.right > outer.right) return true;
    }
    return false;
}

// Whether the pointer, which is over this spot by now, would press this element. What its coming has set off may take a moment: one
// that has no size until its picture is there is under the pointer and not, in turns.
async function reached(number, x, y) {
    const began = now();
    for (;;) {
        const element = elementOf(number);
        const hit = element && deepest(x, y);
        if (!hit || (belongs(hit, element) && hit.matches(":hover"))) return true; // what has taken its place is what is pointed at
        if (now() - began > 40) return false;
        await new Promise((resolve) => later(resolve, 10));
    }
}

function spots(element) {
    const found = [];
    for (const box of [...element.getClientRects()].slice(0, 4)) {
        const left = Math.max(0, box.left), right = Math.min(innerWidth, box.right);
        const top = Math.max(0, box.top), bottom = Math.min(innerHeight, box.bottom);
        if (right <= left || bottom <= top) continue;
        for (const [x, y] of [[0.5, 0.5], [0.25, 0.25], [0.75, 0.75], [0.1, 0.5], [0.9, 0.5]]) {
            found.push([left + (right - left) * x, top + (bottom - top) * y]);
        }
    }
    return found;
}

function deepest(x, y) {
    let hit = document.elementFromPoint(x, y);
    while (hit) {
        const root = hit.shadowRoot || shadows.get(hit);
        const inner = root && root.elementFromPoint(x, y);
        if (!inner || inner === hit) break;
        hit = inner;
    }
    return hit;
}

function belongs(hit, element) {
    for (let node = hit; node && node.nodeType === 1; node = parentOf(node)) {
        if (node === element || (node.tagName === "LABEL" && node.control === element)) return true;
    }
    // What lies over a form control without wanting anything itself lets the pointer through to the page all the same.
    return element.contains(hit);
}

function topmost(element) {
    let found = element;
    for (let node = element; node && node.nodeType === 1; node = parentOf(node)) {
        const role = roleOf(node);
        if (role === "dialog" || role === "alertdialog") return node;
        if (found === element && kindOf(node, role)) found = node;
    }
    return found;
}

// The elements whose names are most like the words, for one who asked for something that is not there.
function alike(words, most) {
    const wanted = new Set(squeeze(words).toLowerCase().split(/\W+/).filter(Boolean));
    const scored = [];
    for (const node of composed(document.documentElement)) {
        if (node.nodeType !== 1 || SKIPPED.has(node.tagName)) continue;
        const role = kindOf(node, roleOf(node));
        if (!role || !shown(node)) continue;
        const name = nameOf(node, role);
        const own = `${role} ${name}`.toLowerCase().split(/\W+/).filter(Boolean);
        const shared = own.filter((word) => wanted.has(word)).length;
        if (shared) scored.push({ score: shared / Math.sqrt(own.length), ref: refOf(node), role, name });
        if (scored.length > 500) break;
    }
    return scored.sort((a, b) => b.score - a.score).slice(0, most);
}

const setter = (element) => Object.getOwnPropertyDescriptor(Object.getPrototypeOf(element), "value").set;

function told(element) {
    element.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
    element.dispatchEvent(new Event("change", { bubbles: true }));
}

// Puts the caret into a field with all of it selected; sets the kinds of controls that nobody types into.
function begin(number, text) {
    const element = elementOf(number);
    if (!element) return { problem: "gone" };
    const typed = element.tagName === "TEXTAREA" || element.isContentEditable || (element.tagName === "INPUT" && !(element.type in INPUTS && !["number", "search"].includes(element.type)));
    if (!typed && element.tagName !== "INPUT") return { problem: "kind" };
    if (!typed && ["checkbox", "radio", "button", "submit", "reset", "image", "file"].includes(element.type)) return { problem: "kind" };
    if (element.readOnly) return { problem: "readonly" };
    element.focus();
    if (!typed) {
        setter(element).call(element, text);
        told(element);
        return { set: true, value: element.value };
    }
    if (element.isContentEditable) getSelection().selectAllChildren(element);
    else element.select();
    return { set: false, empty: !(element.isContentEditable ? element.textContent : element.value) };
}

function valueOf(number) {
    const element = elementOf(number);
    return element ? ("value" in element ? element.value : element.textContent) : null;
}

function select(number, wanted) {
    const element = elementOf(number);
    if (!element) return { problem: "gone" };
    if (element.tagName !== "SELECT") return { problem: "kind" };
    const labels = [...element.options].map((option) => squeeze(option.label));
    const chosen = [];
    for (const label of wanted) {
        const clean = squeeze(label).toLowerCase();
        let place = labels.findIndex((one) => one.toLowerCase() === clean);
        if (place < 0) place = [...element.options].findIndex((option) => option.value.toLowerCase() === clean);
        if (place < 0) return { problem: "option", wanted: label, labels: labels.slice(0, 40) };
        if (element.options[place].disabled) return { problem: "disabled" };
        chosen.push(place);
    }
    if (chosen.length > 1 && !element.multiple) return { problem: "single" };
    element.focus();
    for (const [place, option] of [...element.options].entries()) option.selected = chosen.includes(place);
    told(element);
    return { chosen: chosen.map((place) => labels[place]) };
}

function isChecked(number) {
    const element = elementOf(number);
    if (!element) return null;
    const control = element.tagName === "LABEL" && element.control ? element.control : element;
    if ("checked" in control && /checkbox|radio/.test(control.type)) return control.checked;
    const aria = control.getAttribute("aria-checked");
    return aria === null ? null : aria === "true";
}

function scrollIt(number, dx, dy) {
    let element = number === null ? null : elementOf(number);
    if (number !== null && !element) return { problem: "gone" };
    for (; element; element = parentOf(element)) {
        if (element.nodeType !== 1) { element = null; break; }
        const style = getComputedStyle(element).overflowY;
        if (element.scrollHeight > element.clientHeight + 1 && style !== "visible" && style !== "hidden") break;
    }
    const target = element || document.scrollingElement || document.documentElement;
    const before = [target.scrollLeft, target.scrollTop];
    const tall = element ? target.clientHeight : innerHeight;
    target.scrollBy({ left: dx * innerWidth, top: dy * tall * 0.9, behavior: "instant" });
    return { moved: before[0] !== target.scrollLeft || before[1] !== target.scrollTop };
}

// Text on the page that holds the words, each with the nearest thing that has a reference.
function search(words, prefix, most) {
    const wanted = squeeze(words).toLowerCase();
    const found = [];
    let count = 0;
    for (const node of composed(document.body || document.documentElement)) {
        if (node.nodeType !== 3 || !squeeze(node.data).toLowerCase().includes(wanted)) continue;
        const holder = node.parentElement;
        if (!holder || SKIPPED.has(holder.tagName) || !shown(holder)) continue;
        count += 1;
        if (found.length >= most) continue;
        let near = holder;
        while (near && near.nodeType === 1 && !kindOf(near, roleOf(near))) near = parentOf(near);
        let context = holder;
        while (context.parentElement && textOf(context, 240).length < 80 && context.parentElement !== document.body) context = context.parentElement;
        const ref = near && near.nodeType === 1 ? `[${prefix}e${refOf(near)}] ` : "";
        found.push({ text: ref + tame(textOf(context, 240)), ref: near && near.nodeType === 1 ? refOf(near) : refOf(holder) });
    }
    return { found, count };
}

function boxes(most) {
    const found = [];
    for (const [number, weak] of elements) {
        const element = weak.deref();
        if (!element || !element.isConnected || !shown(element)) continue;
        const box = element.getBoundingClientRect();
        if (box.width < 2 || box.height < 2 || box.bottom < 0 || box.right < 0 || box.top > innerHeight || box.left > innerWidth) continue;
        found.push({ number, x: box.x, y: box.y, width: box.width, height: box.height });
        if (found.length >= most) break;
    }
    return found;
}

function boxOf(number) {
    const element = elementOf(number);
    if (!element || !shown(element)) return null;
    const { x, y, width, height } = element.getBoundingClientRect();
    return width < 2 || height < 2 ? null : { x, y, width, height };
}

// Fields that a secret was filled into; what they show is nobody's business, whatever the page makes of it.
const hushed = new WeakSet();

function hush(number) {
    const element = elementOf(number);
    if (element) hushed.add(element);
}

// Texts and form contents in view with their places, for whoever has to keep some of them out of a picture.
function inked(most) {
    const found = [];
    const add = (text, box, field, hidden) => {
        const seen = box.width > 0 && box.height > 0 && box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
        if (seen) found.push({ text, field, hidden, x: box.x, y: box.y, width: box.width, height: box.height });
    };
    for (const node of composed(document.documentElement)) {
        if (found.length >= most) break;
        if (node.nodeType === 3) {
            if (!node.data.trim() || (node.parentElement && SKIPPED.has(node.parentElement.tagName))) continue;
            const range = document.createRange();
            range.selectNodeContents(node);
            add(node.data, range.getBoundingClientRect(), false, false);
        } else if (node.nodeType === 1) {
            const box = () => node.getBoundingClientRect();
            if (hushed.has(node) || node.type === "password") add("", box(), true, true);
            else if (node.tagName === "SELECT") add([...node.selectedOptions].map((one) => one.label).join(" "), box(), true, false);
            else if (VALUED.has(node.tagName) && typeof node.value === "string") add(node.value || node.placeholder || "", box(), true, false);
        }
    }
    return found;
}

function focusOn(number) {
    const element = elementOf(number);
    if (!element) return false;
    element.focus();
    return true;
}

function focusedRef() {
    const element = activeElement();
    return element && element !== document.body ? refOf(element) : null;
}

// Whether a text is not to be seen yet.
function lacks(words) {
    return !squeeze(document.body ? document.body.innerText : "").toLowerCase().includes(squeeze(words).toLowerCase());
}

// All of an element's text, a line per block.
function tell(number, most) {
    const element = elementOf(number);
    if (!element) return null;
    const text = "innerText" in element && element.innerText ? element.innerText : element.value || element.textContent || "";
    const lines = text.split("\n").map((line) => tame(squeeze(line))).filter(Boolean).join("\n");
    return lines.length > most ? `${lines.slice(0, most)}…` : lines;
}
