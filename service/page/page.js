// The page: which part is shown, what is live, light and dark.
import { make } from "./dom.js";
import { diversity } from "./diversity.js";
import { funnel } from "./funnel.js";
import { follow, live } from "./live.js";
import { overview } from "./overview.js";
import { rows } from "./rows.js";
import { settings } from "./settings.js";
import { training } from "./training.js";

const main = document.getElementById("main"), line = document.getElementById("line"), theme = document.getElementById("theme");
const pages = { overview, funnel, rows, diversity, training, settings };
let shown = 0, refresh = null, isBusy = false;

async function show({ isMove = false } = {}) {
  const mine = (shown += 1), [name, query] = location.hash.slice(1).split("?"), page = Object.hasOwn(pages, name) ? name : "overview";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${page}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  let found;
  try {
    found = await pages[page](new URLSearchParams(query));
  } catch (error) {
    found = { title: page, parts: [make("p", { class: "error", role: "alert" }, error.message)] };
  }
  if (mine !== shown) return;
  refresh = found.refresh ?? null;
  document.title = `${found.title} · Seedbed`;
  main.replaceChildren(make("h2", {}, found.title), ...found.parts.flat(Infinity).filter(Boolean));
  main.dataset.page = page;
  if (!isMove) return;
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

async function renew(status) {
  if (!refresh || isBusy) return;
  isBusy = true;
  try {
    await refresh(status);
  } catch (error) {
    say(error.message, true);
  } finally {
    isBusy = false;
  }
}

function say(text, isLost) {
  if (line.textContent !== text) line.textContent = text;
  line.classList.toggle("lost", isLost);
  line.classList.toggle("live", text === "live");
}

// The theme: that of the system until one is chosen, then that one in this browser.
const THEMES = ["system", "light", "dark"];
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  theme.textContent = `Theme: ${name}`;
}
setTheme(THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "system");
theme.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  localStorage.setItem("theme", next);
  setTheme(next);
});

let wasLost = false;
follow({
  onStatus: renew,
  onEvent: () => {},
  onLine: (text, isLost) => {
    say(text, isLost);
    if (wasLost && !isLost) show();  // catches up with what changed meanwhile
    wasLost = isLost;
  },
});
addEventListener("hashchange", () => show({ isMove: true }));
addEventListener("again", () => show());
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
show();
