// What the shop does in the browser: settings, comparing, suggestions, questions before something is done, drafts, the calendar.
"use strict";

const byId = (id) => document.getElementById(id);
const remembered = (key, otherwise) => JSON.parse(localStorage.getItem(key) || JSON.stringify(otherwise));
const remember = (key, value) => localStorage.setItem(key, JSON.stringify(value));
const make = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });

// --- settings ---

const RATES = { EUR: 1, USD: 1.1, SEK: 11 };
const settings = remembered("settings", { currency: "EUR", dark: false });
document.body.classList.toggle("dark", settings.dark);
for (const one of document.querySelectorAll("[data-cents]")) {
    one.textContent = `${settings.currency} ${((Number(one.dataset.cents) * RATES[settings.currency]) / 100).toFixed(2)}`;
}
if (byId("save-settings")) {
    byId("currency").value = settings.currency;
    byId("dark").checked = settings.dark;
    byId("save-settings").addEventListener("click", () => {
        remember("settings", { currency: byId("currency").value, dark: byId("dark").checked });
        document.body.classList.toggle("dark", byId("dark").checked);
        byId("saved").textContent = "Saved.";
    });
}

// --- comparing ---

const compared = () => remembered("compared", []);
const count = () => { byId("compared").textContent = String(compared().length); };
count();
for (const button of document.querySelectorAll("[data-compare]")) {
    const number = Number(button.dataset.compare);
    const name = () => { button.textContent = compared().includes(number) ? "Do not compare" : "Compare"; };
    name();
    button.addEventListener("click", () => {
        const before = compared();
        remember("compared", before.includes(number) ? before.filter((one) => one !== number) : [...before, number]);
        name();
        count();
    });
}
if (byId("comparison") && compared().length) {
    fetch(`/products.json?numbers=${compared().join(",")}`).then((reply) => reply.json()).then((products) => {
        const table = document.createElement("table");
        for (const field of ["name", "price", "rating", "washing"]) {
            const row = table.insertRow();
            row.append(make("th", field), ...products.map((product) => make("td", String(product[field]))));
        }
        byId("comparison").replaceChildren(table);
    });
}

// --- suggestions ---

const words = document.querySelector("input[type=search]");
words.addEventListener("input", async () => {
    const names = await (await fetch(`/suggest?q=${encodeURIComponent(words.value)}`)).json();
    byId("names").replaceChildren(...names.map((name) => make("option", name, { value: name })));
});

// --- questions and drafts ---

for (const form of document.querySelectorAll("form[data-confirm]")) {
    form.addEventListener("submit", (event) => { if (!confirm(form.dataset.confirm)) event.preventDefault(); });
}
for (const field of document.querySelectorAll("[data-draft]")) {
    const key = `draft ${field.dataset.draft}`;
    field.value = sessionStorage.getItem(key) || "";
    field.addEventListener("input", () => sessionStorage.setItem(key, field.value));
    field.form.addEventListener("submit", () => sessionStorage.removeItem(key));
}

// --- the calendar ---

if (byId("calendar")) {
    let ahead = 0;
    const form = byId("booking");
    const choose = (day, hour) => {
        form.elements.day.value = day;
        form.elements.hour.value = hour;
        byId("chosen").textContent = `${day} at ${hour}:00`;
        form.hidden = false;
    };
    const slots = (day) => {
        form.hidden = true;
        byId("slots").replaceChildren(make("h2", day.day), ...Object.entries(day.seats).map(([hour, seats]) => {
            const button = make("button", `${hour}:00 (${seats} left)`, { type: "button", disabled: seats === 0 });
            button.addEventListener("click", () => choose(day.day, hour));
            return button;
        }));
    };
    const draw = async () => {
        const month = await (await fetch(`/workshops/${byId("calendar").dataset.workshop}/month?ahead=${ahead}`)).json();
        byId("month").textContent = month.title;
        byId("earlier").disabled = month.ahead === 0;
        byId("later").disabled = month.last;
        byId("days").replaceChildren(...month.days.map((day, place) => {
            const free = Object.values(day.seats).some((seats) => seats > 0);
            const button = make("button", String(Number(day.day.slice(8))), { type: "button", disabled: !free });
            button.setAttribute("aria-label", day.day);
            if (place === 0) button.style.gridColumnStart = day.weekday + 1;
            button.addEventListener("click", () => slots(day));
            return button;
        }));
        byId("slots").replaceChildren();
        form.hidden = true;
    };
    byId("earlier").addEventListener("click", () => { ahead -= 1; draw(); });
    byId("later").addEventListener("click", () => { ahead += 1; draw(); });
    draw();
}
