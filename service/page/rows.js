// Rows: search and filter; one row beside its neighbour, with its verdicts, where it came from, and what a person says.
import { ask, post } from "./api.js";
import { button, field, hint, inWords, make, moment, number, table } from "./dom.js";
import { live } from "./live.js";

const FILTERS = ["state", "category", "filter", "reason", "recipe", "text"];

function search(query) {
  const state = field("State", { name: "state" }, "select",
    ...[["", "all"], ["accepted", "accepted"], ["refused", "refused"]].map(([value, text]) => make("option", { value, selected: (query.get("state") ?? "") === value }, text)));
  const inputs = [["text", "Words in it", 200], ["category", "Category", 200], ["filter", "Refused by", 64], ["reason", "Reason", 64], ["recipe", "Recipe", 64]]
    .map(([name, label, maxlength]) => field(label, { name, value: query.get(name) ?? "", maxlength, autocomplete: "off", list: name === "text" ? undefined : `known-${name}` }));
  const known = Object.fromEntries(["category", "filter", "reason", "recipe"].map((name) => [name, make("datalist", { id: `known-${name}` })]));
  const form = make("form", { class: "search", role: "search", "aria-label": "Rows" }, state.element, inputs.map((one) => one.element), make("button", {}, "Search"), Object.values(known));
  form.addEventListener("focusin", () => suggest(known).catch(() => {}), { once: true });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    location.hash = `#rows?${wanted}`;
  });
  return form;
}

// What can be searched for is asked when somebody is about to.
async function suggest(known) {
  const [funnel, spread] = await Promise.all([ask("/v1/pool/funnel"), ask("/v1/pool/spread")]);
  const names = {
    category: spread.categories.map((one) => one.category), filter: funnel.stages.map((one) => one.filter),
    reason: funnel.stages.flatMap((one) => Object.keys(one.reasons)), recipe: Object.keys(live.status?.costs.recipes ?? {}) };
  for (const [name, list] of Object.entries(known)) list.replaceChildren(...[...new Set(names[name])].map((value) => make("option", { value })));
}

async function list(query) {
  const asked = new URLSearchParams([...query].filter(([name, value]) => value && [...FILTERS, "cursor"].includes(name)));
  const page = await ask(`/v1/pool/rows?${asked}`);
  const next = new URLSearchParams(asked);
  if (page.next) next.set("cursor", page.next);
  const rows = page.rows.map(({ candidate, ...row }) => [
    make("a", { href: `#rows?id=${candidate.id}` }, candidate.instruction.slice(0, 200) || (row.is_blanked ? "(its text was removed: it is old)" : "(an empty instruction)")),
    row.is_accepted ? "accepted" : make("span", { class: "error" }, "refused"), row.is_accepted ? "" : `${inWords(row.filter)}: ${inWords(row.reason)}`,
    inWords(candidate.category || candidate.requested_category), inWords(candidate.lineage.recipe)]);
  return { title: "Rows", parts: [search(query), table("Rows, newest first", ["instruction", "stands", "refused by", "category", "recipe"], rows, asked.size ? "No row is so. A category, filter, reason or recipe must be given whole; words may be any that stand in the row." : "No row was decided yet: they stand here as soon as models write them."),
    rows.length ? make("p", {}, page.next ? make("a", { href: `#rows?${next}` }, "Older rows") : "That is all.") : null] };
}

const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
function marked(text, other) {
  const shared = new Set(words(other ?? ""));
  return make("pre", {}, text.split(/([\p{L}\p{N}]+)/u).map((piece) => (shared.has(piece.toLowerCase()) ? make("mark", {}, piece) : piece)));
}

const REMOVED = "Its text was removed since it is old (retention in the settings).";
function side(title, row, other, isBlanked) {
  const parts = ["instruction", "input", "output"].filter((name) => row[name]);
  return make("section", { class: "card" }, make("h3", {}, title), parts.map((name) => [make("h4", {}, name), marked(row[name], other?.[name])]), isBlanked || !parts.length ? hint(REMOVED) : null);
}

const SEEN = "its neighbour";
function neighbourOf(found) {
  if (found.neighbour) return side(`${SEEN}: ${found.neighbour.id.slice(0, 12)}`, found.neighbour, found.subject);
  const named = found.decisions.flatMap((decision) => decision.verdicts).find((verdict) => verdict.neighbour_id);
  if (!named) return make("section", { class: "card" }, make("h3", {}, SEEN), hint("No verdict names one."));
  return make("section", { class: "card" }, make("h3", {}, `${SEEN}: ${named.neighbour_id}`), hint("It is not in the pool: an item of a benchmark, or a row that is no longer kept."),
    named.evidence.length ? [make("h4", {}, "shared"), make("pre", {}, named.evidence.join("\n"))] : null);
}

// Two steps: first what it would take, then the button that does it.
function quarantine(ancestor, name, text) {
  const place = make("span"), body = (dry) => ({ ancestor, name, note: "from the page", dry_run: dry });
  const look = button(text, () => post("/v1/pool/quarantine", body(true)), { then: (found) => {
    const say = `${number(found.rows)} accepted row${found.rows === 1 ? "" : "s"} descend${found.rows === 1 ? "s" : ""} from it. `;
    place.replaceChildren(say, found.rows ? button(`Refuse ${found.rows === 1 ? "this row" : `these ${number(found.rows)} rows`}`, () => post("/v1/pool/quarantine", body(false)), { kind: "danger" }) : "");
  } });
  return make("span", {}, look, place);
}

function lineage(found) {
  const { lineage: line } = found.subject;
  const ancestors = found.ancestors.map((one) => [one.generation, one.is_seed ? `seed ${one.id}` : make("a", { href: `#rows?id=${one.id}` }, one.id.slice(0, 12)), one.instruction.slice(0, 300) || "(no longer known)",
    quarantine("seed", one.id, "What descends from it?")]);
  return make("section", {}, make("h3", {}, "Where it came from"),
    make("p", {}, `Recipe ${inWords(line.recipe)}, model ${line.model || "unknown"}, ${line.depth} generation${line.depth === 1 ? "" : "s"} from the seeds. `,
      line.model && quarantine("model", line.model, "What came from this model?")),
    line.prompt_sha256 && make("p", {}, `Prompt template ${line.prompt_sha256.slice(0, 12)}. `, quarantine("prompt", line.prompt_sha256, "What came from this prompt?")),
    table("What was shown, back to the seeds", ["generation", "row", "instruction", "quarantine"], ancestors, "Nothing was shown to the model when it was written."),
    found.requests.map((request) => make("details", {}, make("summary", {}, `The request: ${inWords(request.purpose)}`),
      request.messages.some((message) => message.content) ? request.messages.map((message) => [make("h4", {}, message.role), make("pre", {}, message.content)]) : hint(REMOVED))));
}

async function one(id) {
  const found = await ask(`/v1/pool/rows/${encodeURIComponent(id)}`), { subject } = found, latest = found.decisions.at(-1);
  const note = field("Note", { maxlength: "2000", placeholder: "why", autocomplete: "off" });
  const decide = (text, verdict) => button(text, () => post(`/v1/pool/rows/${subject.id}/${verdict}`, { note: note.control.value || "by hand" }), { then: () => dispatchEvent(new Event("again")) });
  const verdicts = found.decisions.flatMap((decision) => (decision.verdicts.length ? decision.verdicts : [{}]).map((verdict) => [
    inWords(verdict.filter ?? "–"), verdict.reason ? inWords(verdict.reason) : verdict.filter ? "passed" : "–",
    verdict.score?.toFixed(3) ?? "–", verdict.threshold?.toFixed(3) ?? "–", (verdict.neighbour_id ?? "–").slice(0, 24), decision.accepted ? "accepted" : "refused", `${decision.by}, ${moment(decision.decided_at)}`, decision.note || "–"]));
  const standing = latest ? `${latest.accepted ? "Accepted" : "Refused"} by ${latest.by}${latest.note ? `: ${latest.note}` : ""}` : "Not decided";
  return { title: `Row ${subject.id.slice(0, 12)}`, parts: [make("p", {}, make("a", { href: "#rows" }, "All rows")), make("p", { class: "standing" }, make("strong", {}, standing), `, category ${inWords(subject.category || subject.requested_category || "none")}.`),
    "output" in subject && (found.is_blanked ? hint("Without its text it cannot be accepted; its verdicts and where it came from are kept.") : make("p", { class: "controls" }, note.element, decide("Accept", "accept"), decide("Refuse", "refuse"))),
    make("div", { class: "sides" }, side("this row", subject, found.neighbour, found.is_blanked), neighbourOf(found)),
    found.is_blanked ? null : hint("Marked words stand in both."),
    table("Verdicts", ["filter", "verdict", "score", "threshold", "neighbour", "decision in the end", "by", "note"], verdicts, "It was not decided yet; each filter's verdict will stand here."), lineage(found)].filter(Boolean) };
}

export const rows = (query) => (query.get("id") ? one(query.get("id")) : list(query));
