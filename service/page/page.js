// The page: reads the API, shows what it says as text, never as markup.
const main = document.getElementById("main"), line = document.getElementById("line");
const history = [];
let status = null, shown = 0;

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children.map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return element;
}

async function ask(path, method = "GET", body = undefined) {
  const headers = method === "GET" ? {} : { "content-type": "application/json", "idempotency-key": crypto.randomUUID?.() ?? String(Math.random()).slice(2) };
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const record = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(record.detail ?? record.title);
  return record;
}

const number = (value) => Number(value).toLocaleString("en");
const fact = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));
const table = (heads, rows) => make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": heads.join(", ") }, make("table", {},
  make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
  make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", typeof cell === "number" ? { class: "number" } : {}, typeof cell === "number" ? number(cell) : cell)))))));
const button = (text, act) => make("button", { type: "button", onclick: async () => {
  try { await act(); await show(); } catch (error) { main.prepend(make("p", { class: "error", role: "alert" }, error.message)); }
} }, text);
const post = (text, path, body) => button(text, () => ask(path, "POST", body));

function chart(name, values) {
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 300 60"); svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img"); svg.setAttribute("aria-label", `${name}: now ${values.at(-1) ?? "unknown"}`);
  const low = Math.min(...values), span = Math.max(...values) - low || 1, drawn = document.createElementNS(space, "polyline");
  drawn.setAttribute("points", values.map((value, place) => `${(300 * place) / Math.max(1, values.length - 1)},${58 - (56 * (value - low)) / span}`).join(" "));
  drawn.setAttribute("fill", "none"); drawn.setAttribute("stroke", "currentColor"); drawn.setAttribute("vector-effect", "non-scaling-stroke");
  svg.append(drawn);
  return make("figure", {}, make("figcaption", {}, name), svg);
}

async function overview() {
  const [now, intent] = await Promise.all([status ?? ask("/v1/status"), ask("/v1/control")]);
  const first = history[0], last = history.at(-1), seconds = first ? (last.at - first.at) / 1000 : 0;
  const rate = seconds > 5 ? (last.accepted - first.accepted) / seconds : 0;
  const left = Math.max(0, now.target - now.accepted);
  const target = make("input", { type: "number", min: "1", "aria-label": "stop at so many accepted rows", value: intent.target ?? "" });
  return [make("h2", {}, "Overview"), ...now.alarms.map((alarm) => make("p", { class: "alarm" }, `Alarm: ${alarm}`)),
    make("progress", { max: now.target, value: Math.min(now.accepted, now.target), "aria-label": "accepted rows towards the next training" }),
    make("dl", { class: "facts" }, fact("phase", now.phase), fact("accepted", `${number(now.accepted)} of ${number(now.target)}`),
      fact("next training in", rate ? `${Math.ceil(left / rate / 60)} min` : "unknown"), fact("acceptance", now.decided ? `${Math.round((100 * now.accepted) / now.decided)}%` : "none yet"),
      fact("in flight", number(now.requests_in_flight)), fact("tokens", number(now.prompt_tokens + now.completion_tokens)),
      fact("cost", now.cost.toFixed(4)), fact("cost a row", now.accepted ? (now.cost / now.accepted).toFixed(6) : "none yet"), fact("adapter in service", now.adapter_in_service || "none")),
    make("p", {}, `Wanted: ${intent.state}. `, post("Start", "/v1/control/start"), post("Pause", "/v1/control/pause"), post("Drain", "/v1/control/drain")),
    make("p", {}, "Stop generating at ", target, button("Set target", () => ask("/v1/control/target", "PUT", { target: target.value ? Number(target.value) : null }))),
    chart("accepted rows since this page was opened", history.map((one) => one.accepted)),
    table(["endpoint", "state", "in flight", "limit", "why"], Object.entries(now.endpoints).map(([name, one]) => [name, one.state, one.in_flight ?? 0, one.limit ?? 0, one.reason ?? ""]))];
}

async function funnel() {
  const now = await ask("/v1/status");
  const refused = Object.entries(now.refused).sort((one, other) => other[1] - one[1]);
  const link = (name) => name.startsWith("parse.") ? name : make("a", { href: `#rows?filter=${encodeURIComponent(name.split(".")[0])}&reason=${encodeURIComponent(name.split(".").slice(1).join("."))}` }, name);
  return [make("h2", {}, "Funnel"), make("p", {}, `${number(now.decided)} candidates decided, ${number(now.accepted)} accepted.`),
    table(["refused by filter and reason", "rows"], refused.map(([name, rows]) => [link(name), rows])),
    make("h2", {}, "Accepted by category"), table(["category", "rows"], Object.entries(now.categories))];
}

async function rows(query) {
  if (query.get("id")) return one(query.get("id"));
  const page = await ask(`/v1/pool/rows?${query}`);
  const next = new URLSearchParams(query); if (page.next) next.set("cursor", page.next);
  return [make("h2", {}, "Rows"), make("p", {}, make("a", { href: "#rows" }, "all"), " · ", make("a", { href: "#rows?state=accepted" }, "accepted"), " · ", make("a", { href: "#rows?state=refused" }, "refused"), ` · ${query}`),
    table(["row", "stands", "category"], page.rows.map((row) => [make("a", { href: `#rows?id=${row.candidate.id}` }, row.candidate.instruction.slice(0, 200) || "(empty)"),
      row.is_accepted ? "accepted" : `refused: ${row.filter}.${row.reason}`, row.candidate.category || row.candidate.requested_category])),
    make("p", {}, page.next ? make("a", { href: `#rows?${next}` }, "older rows") : "That is all.")];
}

const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
function marked(text, other) {
  const shared = new Set(words(other ?? ""));
  return make("pre", {}, ...text.split(/([\p{L}\p{N}]+)/u).map((piece) => (shared.has(piece.toLowerCase()) ? make("mark", {}, piece) : piece)));
}
function side(title, row, other) {
  const parts = ["instruction", "input", "output"].filter((name) => row[name]);
  return make("section", {}, make("h3", {}, title), ...parts.flatMap((name) => [make("strong", {}, name), marked(row[name], other?.[name])]));
}

async function one(id) {
  const found = await ask(`/v1/pool/rows/${encodeURIComponent(id)}`), { subject, neighbour } = found, lineage = subject.lineage;
  const note = make("input", { "aria-label": "note", placeholder: "why", maxlength: "2000" });
  const decide = (text, verdict) => button(text, () => ask(`/v1/pool/rows/${subject.id}/${verdict}`, "POST", { note: note.value || "by hand" }));
  return [make("h2", {}, `Row ${subject.id.slice(0, 12)}`), make("div", { class: "sides" }, side("this row", subject, neighbour), ...(neighbour ? [side(`its neighbour ${neighbour.id.slice(0, 12)}`, neighbour, subject)] : [])),
    ...("output" in subject ? [make("p", {}, note, decide("Accept", "accept"), decide("Refuse", "refuse"))] : []),
    table(["decision", "by", "filter", "verdict", "score", "threshold", "neighbour", "note"], found.decisions.flatMap((decision) => (decision.verdicts.length ? decision.verdicts : [{}]).map((verdict) => [decision.accepted ? "accepted" : "refused", decision.by, verdict.filter ?? "", verdict.reason || "passed", verdict.score?.toFixed(3) ?? "", verdict.threshold?.toFixed(3) ?? "", verdict.neighbour_id ?? "", decision.note]))),
    make("p", {}, `Recipe ${lineage.recipe}, model ${lineage.model || "unknown"}, depth ${lineage.depth}; shown: ${lineage.demonstration_ids.join(", ") || "nothing"}`)];
}

async function training() {
  const [runs, adapters, reports] = await Promise.all(["/v1/runs", "/v1/adapters", "/v1/reports"].map((path) => ask(path)));
  return [make("h2", {}, "Training"), make("p", {}, post("Train now on what is accepted", "/v1/runs")),
    table(["round", "state", "rows", "attempts", "error", ""], runs.map((run) => [run.round, run.state, run.threshold, run.attempts, run.last_error.slice(-300), ["waiting", "running"].includes(run.state) ? post("Cancel", `/v1/runs/${run.round}/cancel`) : ""])),
    make("h2", {}, "Adapters"), make("p", {}, post("Roll back the one in service", "/v1/adapters/rollback", { note: "from the page" })),
    table(["adapter", "snapshot", "stands", "why", ""], adapters.map((adapter) => [adapter.id, adapter.snapshot_id.slice(0, 12), adapter.promotion, adapter.reason, post("Promote", `/v1/adapters/${adapter.id}/promote`, { note: "from the page" })])),
    make("h2", {}, "Held-out differences (adapter − base, points)"),
    table(["adapter", "category", "rows", "points", "95% interval"], reports.flatMap((report) => report.differences.map((one) => [report.adapter_id, one.category, one.n, (100 * one.mean).toFixed(1), `${(100 * one.low).toFixed(1)} to ${(100 * one.high).toFixed(1)}`])))];
}

const pages = { overview, funnel, rows, training };
async function show() {
  const mine = ++shown, [name, query] = location.hash.slice(1).split("?"), page = name in pages ? name : "overview";
  for (const link of document.querySelectorAll("nav a")) link.toggleAttribute("aria-current", link.hash === `#${page}`);
  let parts;
  try { parts = await pages[page](new URLSearchParams(query)); } catch (error) { parts = [make("p", { class: "error", role: "alert" }, error.message)]; }
  if (mine === shown) main.replaceChildren(...parts);
}

function say(text, isLost) { if (line.textContent !== text) line.textContent = text; line.classList.toggle("lost", isLost); }
const events = new EventSource("/v1/events");
events.addEventListener("open", () => { say("live", false); show(); });
events.addEventListener("error", () => say("connection lost; trying again, then catching up", true));
events.addEventListener("status", (message) => {
  status = JSON.parse(message.data);
  history.push({ at: Date.now(), accepted: status.accepted });
  if (history.length > 600) history.splice(0, history.length - 600, ...history.slice(-600).filter((_, place) => place % 2));
  const isBusy = main.contains(document.activeElement) && document.activeElement !== main;
  if (!isBusy && ["", "#overview"].includes(location.hash)) show();
});
addEventListener("hashchange", () => show().then(() => main.focus()));
show();
