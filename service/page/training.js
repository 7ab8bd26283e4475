// Training: runs with their loss as it falls, held-out differences, answers side by side, promotion and rolling back.
import { ask, post } from "./api.js";
import { button, field, fact, facts, hint, inWords, make, moment, number, refill, table } from "./dom.js";
import { lines } from "./draw.js";

const OPEN = ["waiting", "running"];
const points = (share) => (Math.abs(share) < 0.0005 ? "0.0" : `${share > 0 ? "+" : "−"}${Math.abs(100 * share).toFixed(1)}`);
const between = (low, high) => `${points(low)} to ${points(high)}`;
const again = () => dispatchEvent(new Event("again"));

function freezing() {
  const frozen = make("span");
  return make("p", {}, button("Freeze a snapshot of what is accepted", () => post("/v1/snapshots"), { then: (one) => {
    frozen.replaceChildren(make("a", { href: `#training?snapshot=${one.id}` }, `snapshot ${one.id.slice(0, 12)}`));
  } }), frozen);
}

function runs(all, isDue) {
  return [make("p", {}, button("Train now on what is accepted", () => post("/v1/runs"), { then: again }), isDue ? hint("A training is due or runs.") : null),
    table("Runs", ["round", "state", "accepted rows", "attempts", "begun", "adapter", "last error", ""], all.map((run) => [
      make("a", { href: `#training?round=${run.round}` }, `round ${run.round}`), run.state, run.threshold, run.attempts, moment(run.created_at), run.adapter_id || "–", run.last_error.slice(-300) || "–",
      OPEN.includes(run.state) ? button("Cancel", () => post(`/v1/runs/${run.round}/cancel`), { then: again, label: `Cancel round ${run.round}` }) : ""]), "No training was triggered yet. It begins by itself when enough rows are accepted.")];
}

function curve(found) {
  const of = (name) => found.points.filter((one) => one[name] !== null).map((one) => [one.step, one[name]]);
  const lastOf = (name) => found.points.findLast((one) => one[name] !== null)?.[name], loss = lastOf("loss"), speed = lastOf("tokens_per_s"), held = of("val_loss");
  return [facts(fact("Shown", `round ${found.run.round}`, `${found.run.state}, ${number(found.run.threshold)} accepted rows started it`),
    fact("Training loss", loss === undefined ? "–" : loss.toFixed(3), loss === undefined ? "not told yet" : `nats a token, at step ${number(of("loss").at(-1)[0])}`),
    fact("Validation loss", held.length ? held.at(-1)[1].toFixed(3) : "–", held.length ? `nats a token, ${held[0][1].toFixed(3)} at step ${number(held[0][0])}` : "not told yet"),
    fact("Speed", speed === undefined ? "–" : `${number(speed)}/s`, speed === undefined ? "not told yet" : "tokens, at the last step")),
  make("div", { class: "one" }, lines(`Loss of round ${found.run.round}`, [{ name: "training loss", points: of("loss") }, { name: "validation loss", points: of("val_loss") }],
    { unit: "nats a token", labelOf: (step) => `step ${number(step)}`, xName: "step", fromZero: false, empty: "This training has told no loss yet; it is drawn step by step as it goes." }))];
}

const asked = new Map();  // adapter to what was answered, since the table is drawn anew every few seconds

function adapters(all, inService, reports) {
  const evaluated = new Set(reports.map((one) => one.adapter_id));
  const evaluate = (id) => button("Evaluate", () => post(`/v1/adapters/${id}/evaluate`).then((answer) => {
    asked.set(id, answer.state === "done" ? "done" : "begins when what runs has drained");
    return asked.get(id);
  }), { label: `Evaluate ${id}` });
  const note = field("Note", { maxlength: "2000", placeholder: "why", autocomplete: "off" });
  const say = () => ({ note: note.control.value || "from the page" });
  return [make("p", { class: "controls" }, note.element, button("Roll back the adapter in service", () => post("/v1/adapters/rollback", say()).then((answer) => answer.done.said), { then: again })),
    table("Adapters", ["adapter", "stands", "why", "trained on", "base", "made", "", ""], all.map((one) => [
      one.id, `${inWords(one.promotion)}${one.id === inService ? ", in service" : ""}${one.is_tainted ? ", tainted" : ""}`, one.reason || "–",
      make("a", { href: `#training?snapshot=${one.snapshot_id}` }, `snapshot ${one.snapshot_id.slice(0, 12)}`), one.base, moment(one.created_at),
      evaluated.has(one.id) ? make("a", { href: `#training?answers=${one.id}` }, "answers") : make("span", {}, evaluate(one.id), asked.get(one.id) ?? null),
      button("Promote", () => post(`/v1/adapters/${one.id}/promote`, say()).then((answer) => answer.done.said), { then: again, label: `Promote ${one.id}` })]), "No adapter was trained yet. Each training leaves one here, to be promoted or rolled back.")];
}

function held(report) {
  const scores = report.scores.filter((one) => one.category === "all");
  return make("section", {}, make("h3", {}, `Held out: ${report.adapter_id}`), make("p", {}, report.reason),
    table(`Adapter minus base, points of 100, ${report.adapter_id}`, ["category", "rows", "tasks", "difference", "95% interval", "finding"],
      report.differences.map((one) => [inWords(one.category), one.n, one.tasks, points(one.mean), between(one.low, one.high), one.finding])),
    table(`Scores over all held-out rows, points of 100, ${report.adapter_id}`, ["arm", "rows", "score", "95% interval", "ended by itself"],
      scores.map((one) => [inWords(one.arm), one.n, (100 * one.score).toFixed(1), one.intervals.score ? `${(100 * one.intervals.score.low).toFixed(1)} to ${(100 * one.intervals.score.high).toFixed(1)}` : "–", one.eos_share === null ? "–" : `${(100 * one.eos_share).toFixed(0)}%`])));
}

async function answers(adapter, start) {
  const found = await ask(`/v1/adapters/${encodeURIComponent(adapter)}/answers?start=${start}&limit=10`);
  const text = (title, value, score) => make("div", { class: "card" }, make("h4", {}, score === null ? title : `${title}, score ${(100 * score).toFixed(0)}`), make("pre", {}, value ?? "(not answered yet)"));
  return { title: `Answers: base and ${adapter}`, parts: [make("p", {}, make("a", { href: "#training" }, "Back to training")),
    ...(found.answers.length ? [] : [hint("Nothing was answered yet: the adapter has not been evaluated.")]),
    ...found.answers.map((one) => make("section", { class: "question" }, make("h3", {}, `${inWords(one.part)}: ${one.id}`), make("pre", {}, [one.instruction, one.input].filter(Boolean).join("\n\n")),
      one.references.length ? make("p", { class: "hint" }, `wanted: ${one.references.join(" | ").slice(0, 500)}`) : null,
      make("div", { class: "sides" }, text("base", one.base, one.base_score), text("adapter", one.adapter, one.adapter_score)))),
    found.next === null ? make("p", {}, "That is all.") : make("p", {}, make("a", { href: `#training?answers=${adapter}&start=${found.next}` }, "Further answers"))] };
}

async function snapshot(id) {
  const [found, adapters] = await Promise.all([ask(`/v1/snapshots/${encodeURIComponent(id)}`), ask("/v1/adapters")]);
  const made = adapters.filter((one) => one.snapshot_id === id).map((one) => one.id);
  return { title: `Snapshot ${id.slice(0, 12)}`, parts: [make("p", {}, make("a", { href: "#training" }, "Back to training")),
    facts(fact("Rows to train on", number(found.train_rows)), fact("Rows for the validation loss", number(found.val_rows)), fact("Frozen", moment(found.created_at), `for round ${found.round}`), fact("Adapters of it", made.join(", ") || "none")),
    table("Rows by category", ["category", "rows"], Object.entries(found.categories).map(([name, rows]) => [inWords(name), rows])),
    make("p", {}, `Held out: ${found.held_out_categories.map(inWords).join(", ")}. Settings ${found.config_fingerprint}, Seedbed ${found.seedbed_version}.`),
    table("Files", ["file", "SHA-256"], Object.entries(found.files))] };
}

export async function training(query) {
  if (query.get("answers")) return answers(query.get("answers"), Number(query.get("start")) || 0);
  if (query.get("snapshot")) return snapshot(query.get("snapshot"));
  const drawn = make("div"), listed = make("div"), log = make("pre", { class: "log", tabindex: "0", role: "region", "aria-label": "Log of the training" });
  let last = "", state = "";
  async function refresh(now) {
    const all = await ask("/v1/runs"), round = query.get("round") === null ? all.at(-1)?.round : Number(query.get("round"));
    const found = round === undefined ? null : await ask(`/v1/runs/${round}/loss`), told = JSON.stringify(found);
    if (told !== last) {
      last = told;
      refill(drawn, found ? curve(found) : null);
      if (found) log.textContent = (await ask(`/v1/runs/${round}/log`)).text || "This training has said nothing yet.";
    }
    const stands = JSON.stringify([all, now?.adapter_in_service, now?.phase]);
    if (stands === state) return;
    state = stands;
    const [made, reports] = await Promise.all([ask("/v1/adapters"), ask("/v1/reports")]);
    const inService = (now ?? await ask("/v1/status")).adapter_in_service;
    refill(listed, runs(all, all.some((run) => OPEN.includes(run.state))), adapters(made, inService, reports), reports.slice().reverse().map(held), reports.length ? null : hint("No adapter was evaluated yet. After each training its answers to held-out tasks are compared with its base's, and the table stands here."));
  }
  await refresh(null);
  return { title: "Training", parts: [drawn, freezing(), listed, make("details", {}, make("summary", {}, "Log of the training"), log)], refresh };
}
