// Settings: every value with where it came from; what can be changed while the service runs is changed here.
import { ask, post, put } from "./api.js";
import { button, bytes, field, hint, inWords, make, number, table } from "./dom.js";
import { shareBar } from "./draw.js";

const LIVE = { "generation.concurrency": "concurrency", "budget.max_tokens": "max_tokens", "budget.max_cost": "max_cost" };
const shownValue = (value) => (value === "" ? "(empty)" : typeof value === "string" ? value : JSON.stringify(value));
const orNull = (control) => (control.value === "" ? null : Number(control.value));

function limits(intent, byKey) {
  const usual = (key) => `${number(byKey[key], 4)} (config)`;
  const target = field("Stop at accepted rows", { type: "number", min: "1", value: intent.target ?? "", placeholder: "no limit" });
  const concurrency = field("Recipes at once", { type: "number", min: "1", value: intent.concurrency ?? "", placeholder: byKey["generation.concurrency"] ? usual("generation.concurrency") : "by the endpoints" });
  const tokens = field("Budget in tokens", { type: "number", min: "0", value: intent.max_tokens ?? "", placeholder: usual("budget.max_tokens") });
  const cost = field("Budget in your currency", { type: "number", min: "0", step: "any", value: intent.max_cost ?? "", placeholder: usual("budget.max_cost") });
  return make("section", { class: "controls" }, make("h3", {}, "Changed while it runs"),
    make("p", {}, target.element, button("Set target", () => put("/v1/control/target", { target: orNull(target.control) }))),
    make("p", {}, concurrency.element, button("Set concurrency", () => put("/v1/control/concurrency", { concurrency: orNull(concurrency.control) }))),
    make("p", {}, tokens.element, cost.element, button("Set budget", () => put("/v1/control/budget", { max_tokens: orNull(tokens.control), max_cost: orNull(cost.control) }))),
    hint("Empty goes by the config; a budget of 0 has no limit. What is set here is kept over restarts and beats the file. Generation drains and starts again with it."));
}

function shares(spread) {
  const fields = spread.categories.filter((one) => one.base !== null).map((one) => ({ name: one.category, ...field(inWords(one.category), { type: "number", min: "0", max: "100", step: "0.1", value: (100 * (one.target ?? 0)).toFixed(1), class: "narrow" }) }));
  const total = make("strong"), sum = () => { total.textContent = `${fields.reduce((all, one) => all + Number(one.control.value), 0).toFixed(1)}%`; };
  fields.forEach((one) => one.control.addEventListener("input", sum));
  sum();
  const note = field("Why", { maxlength: "2000", placeholder: "for the record", autocomplete: "off" });
  return make("section", { class: "controls" }, make("h3", {}, "Target shares, in percent"), make("div", { class: "shares" }, fields.map((one) => one.element)),
    make("p", {}, "Together ", total, ". ", note.element, button("Set shares", () => put("/v1/control/shares", { shares: Object.fromEntries(fields.map((one) => [one.name, Number(one.control.value) / 100])), note: note.control.value || "from the page" }))),
    hint("Any sum is taken; the parts count."));
}

// Two steps, as for a quarantine: what is old, then the button that removes it.
function disk(used) {
  const sum = Object.values(used).reduce((all, size) => all + size, 0), place = make("div");
  const rows = Object.entries(used).map(([kind, size]) => [kind, bytes(size), size ? [shareBar(size / sum)] : ""]);
  const look = button("What is old?", () => post("/v1/pool/prune", { dry_run: true }), { then: (found) => {
    const kinds = Object.entries(found.kinds).filter(([, one]) => one.items);
    place.replaceChildren(kinds.length ? table("Would be removed", ["what", "items", "size"], kinds.map(([kind, one]) => [inWords(kind), one.items, bytes(one.bytes)])) : hint("Nothing is old enough to be removed."),
      kinds.length ? button(`Remove these ${bytes(found.bytes)}`, () => post("/v1/pool/prune", { dry_run: false }).then((done) => `${bytes(done.bytes)} removed`), { kind: "danger" }) : "");
  } });
  return make("section", {}, table("Disk use", ["kind", "size", "as a bar"], rows), make("p", {}, look), place,
    hint("What is old is removed once a day by itself, as the settings under retention say; what is accepted or in service stays."));
}

function all(found, intent) {
  const place = make("div"), wanted = field("Find a setting", { type: "search", autocomplete: "off" }), only = field("Only those that are not default", { type: "checkbox" });
  function show() {
    const text = wanted.control.value.toLowerCase();
    const rows = found.settings.filter((one) => (!only.control.checked || one.source !== "default" || LIVE[one.key] && intent[LIVE[one.key]] !== null) && `${one.key} ${one.meaning}`.toLowerCase().includes(text)).map((one) => {
      const changed = LIVE[one.key] ? intent[LIVE[one.key]] : null;
      return [[make("strong", {}, one.key), make("small", {}, one.meaning)], changed === null || changed === undefined ? shownValue(one.value) : `${number(changed, 4)} (the config says ${shownValue(one.value)})`,
        changed === null || changed === undefined ? one.source + (one.variable ? `: ${one.variable}` : "") : "changed here", LIVE[one.key] ? "while it runs" : "file and restart"];
    });
    place.replaceChildren(table("All settings", ["setting", "value", "from", "changes"], rows, "No setting has these words in its name or meaning."));
  }
  wanted.control.addEventListener("input", show);
  only.control.addEventListener("change", show);
  show();
  return [make("p", { class: "controls" }, wanted.element, only.element), make("div", { class: "settings" }, place)];
}

export async function settings() {
  const [found, intent, spread, status] = await Promise.all([ask("/v1/settings"), ask("/v1/control"), ask("/v1/pool/spread"), ask("/v1/status")]);
  const byKey = Object.fromEntries(found.settings.map((one) => [one.key, one.value]));
  return { title: "Settings", parts: [found.change && make("p", { class: "notice", role: "status" }, `${found.file}: ${found.change}.`), limits(intent, byKey), shares(spread), disk(status.disk),
    table("Secrets", ["use", "environment variable", "stands"], found.secrets.map((one) => [one.use, one.variable, one.is_set ? "set" : "not set"]), "No setting names a secret. An endpoint's api_key_env names the variable that holds its key; whether it is set will stand here."),
    all(found, intent), hint(`Everything else is changed in ${found.file} in the workspace and holds after a restart. Values that may be secret are hidden.`)].filter(Boolean) };
}
