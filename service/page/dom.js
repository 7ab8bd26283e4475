// Elements of the page: made here, and text goes into them as text, never as markup.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false || value === null) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== "")
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return element;
}

export const number = (value, digits = 0) => Number(value).toLocaleString("en", { maximumFractionDigits: digits });
export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)}%`;
export const money = (value) => (value === 0 ? "0" : Math.abs(value) < 0.01 ? value.toPrecision(2) : value.toFixed(2));
export function bytes(size) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let place = 0, left = size;
  for (; left >= 1000 && place < units.length - 1; place += 1) left /= 1000;
  return `${place ? left.toFixed(1) : left} ${units[place]}`;
}
export const inWords = (name) => String(name).replaceAll("_", " ");
export const moment = (at) => new Date(1000 * at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
export const clock = (at) => new Date(1000 * at).toLocaleTimeString("en-GB");

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "unknown";
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86400)} days`;
}

export const fact = (name, value, note = "", kind = undefined) =>
  make("div", { class: kind }, make("dt", {}, name), make("dd", {}, value, note && make("small", {}, note)));
export const facts = (...all) => make("dl", { class: "facts" }, all);
export const hint = (text) => make("p", { class: "hint" }, text);

const SHORT = 26;  // characters that stay on one line
const FIGURE = /^[+−]?[\d.,]+(%| points| s| min| h| days| words| bits| bytes| [kMGT]B)?$/;
const isFigure = (value) => typeof value === "number" || (typeof value === "string" && FIGURE.test(value));

// A part that is wider than its place can be scrolled by keyboard; one that fits is no stop on the way.
const width = new ResizeObserver((changes) => changes.forEach(({ target }) => {
  if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
  else if (target !== document.activeElement) target.removeAttribute("tabindex");
}));

// A table with a caption; columns of figures stand to the right, and an empty table says what will stand there.
export function table(caption, heads, rows, whenEmpty = "Nothing yet.") {
  const cell = (value, place) => {
    return make("td", { class: isNumber(place) ? "number" : typeof value === "string" && value.length < SHORT ? "short" : undefined, "data-head": heads[place] || undefined }, typeof value === "number" ? number(value, 1) : value);
  };
  if (!rows.length) return make("section", {}, make("h3", {}, caption), hint(whenEmpty));
  const isNumber = (place) => rows.some((cells) => isFigure(cells[place])) && rows.every((cells) => isFigure(cells[place]) || ["–", "", null].includes(cells[place]));
  const scroll = make("div", { class: "scroll", role: "region", "aria-label": caption, "data-key": caption },
    make("table", {}, make("caption", {}, caption),
      make("thead", {}, make("tr", {}, heads.map((head, place) =>
        make(head ? "th" : "td", { scope: head ? "col" : undefined, class: isNumber(place) ? "number" : undefined }, head)))),
      make("tbody", {}, rows.map((cells) => make("tr", {}, cells.map(cell))))));
  width.observe(scroll);
  return scroll;
}

// Say what became of a click, where the click was; the text is announced.
export function button(text, act, { then = undefined, kind = undefined, label = undefined } = {}) {
  const said = make("span", { class: "said", role: "status" });
  const pressed = make("button", { type: "button", class: kind, "aria-label": label, "data-key": `button ${label ?? text}` }, text);
  pressed.addEventListener("click", async () => {
    pressed.disabled = true;
    said.className = "said";
    said.textContent = "…";
    try {
      const answer = await act();
      said.textContent = typeof answer === "string" ? answer : "done";
      if (then) await then(answer);
    } catch (error) {
      said.className = "said error";
      said.textContent = error.message;
    } finally {
      pressed.disabled = false;
      if (pressed.isConnected) pressed.focus();
    }
  });
  return make("span", { class: "action" }, pressed, said);
}

let fields = 0;
export function field(label, properties, tag = "input", ...children) {
  const id = `field-${(fields += 1)}`, control = make(tag, { id, ...properties }, ...children);
  return { control, element: make("span", { class: "field" }, make("label", { for: id }, label), control) };
}

// Put new parts in place of what stands there; who had the focus by a key keeps it.
export function refill(place, ...parts) {
  const active = place.contains(document.activeElement) ? document.activeElement : null;
  const key = active?.dataset.key, scroll = active?.scrollLeft;
  const open = new Set([...place.querySelectorAll("details[open]")].map((one) => one.dataset.key));
  place.replaceChildren(...parts.flat(Infinity).filter(Boolean));
  for (const one of place.querySelectorAll("details")) one.open = open.has(one.dataset.key);
  if (!key) return;
  const again = [...place.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key);
  again?.focus({ preventScroll: true });
  if (again && scroll) again.scrollLeft = scroll;
}
