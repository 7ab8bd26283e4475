// Overview: what it does now, how far it is, what it costs, what is wrong; charts since the service started.
import { ask, post, put } from "./api.js";
import { button, bytes, clock, duration, fact, facts, field, hint, inWords, make, money, number, percent, refill, table } from "./dom.js";
import { lines } from "./draw.js";
import { live } from "./live.js";

const WHY = {
  configured: "as configured", slow_start: "starting slowly", throttled: "the server asked for less", server_queue: "follows the server's own queue",
};
const PHASES = {
  starting: "starting", loading_filters: "loading the filters", generating: "generating", freezing: "freezing a snapshot",
  training: "training", evaluating: "evaluating", promoting: "deciding on the adapter", paused: "paused", draining: "draining", stopped: "stopped",
};
const WINDOW_S = 60;

// Rates over the last minute of samples; null where there are not two samples yet.
function rates(samples) {
  const last = samples.at(-1), first = samples.find((one) => last.at - one.at <= WINDOW_S);
  if (!last || last.at - first.at < 1) return null;
  const each = (name) => (last[name] - first[name]) / (last.at - first.at);
  const decided = last.decided - first.decided;
  return { requests: each("requests"), tokens: each("tokens"), accepted: each("accepted"), acceptance: decided ? (last.accepted - first.accepted) / decided : null };
}

const since = (samples, name, scale = 1) => samples.slice(1).flatMap((one, place) => {
  const span = one.at - samples[place].at;
  return span > 0 ? [[one.at, (scale * (one[name] - samples[place][name])) / span]] : [];
});

function acceptance(samples) {
  return samples.slice(1).flatMap((one, place) => {
    const decided = one.decided - samples[place].decided;
    return decided > 0 ? [[one.at, (100 * (one.accepted - samples[place].accepted)) / decided]] : [];
  });
}

// Means over groups of samples, so that a line of hundreds of points can be read.
function smoothed(points, most = 60) {
  const size = Math.ceil(points.length / most);
  return Array.from({ length: Math.ceil(points.length / size || 0) }, (_, group) => {
    const some = points.slice(group * size, (group + 1) * size);
    return [some.at(-1)[0], some.reduce((sum, [, y]) => sum + y, 0) / some.length];
  });
}

function disk(now) {
  const used = Object.entries(now.disk).filter(([, size]) => size).sort((one, other) => other[1] - one[1]);
  const sum = used.reduce((all, [, size]) => all + size, 0), most = used.slice(0, 3).map(([kind, size]) => `${kind} ${bytes(size)}`);
  return fact("Disk", bytes(sum), most.length ? make("a", { href: "#settings", "data-key": "disk" }, most.join(", ")) : "nothing is stored yet");
}

function figures(now, samples) {
  const rate = rates(samples), left = Math.max(0, now.target - now.accepted);
  const eta = rate && rate.accepted > 0 && left ? duration(left / rate.accepted) : left ? "–" : "due";
  const sum = (name) => Object.values(now.endpoints).reduce((all, one) => all + one[name], 0), limit = sum("limit");
  const tokens = now.prompt_tokens + now.completion_tokens;
  return [
    facts(
      fact("Accepted rows", `${number(now.accepted)} of ${number(now.target)}`, [
        make("progress", { max: now.target, value: Math.min(now.accepted, now.target), "aria-label": `${now.accepted} of ${now.target} accepted rows towards the next training` }),
        `${percent(now.accepted / now.target, 1)} of what the next training waits for`], "wide"),
      fact("Phase", PHASES[now.phase] ?? inWords(now.phase), `round ${now.round}`),
      fact("Next training in", eta, rate ? `at ${number(rate.accepted * 60, 1)} rows a minute` : "foreseen after two looks"),
      fact("Acceptance", now.decided ? percent(now.accepted / now.decided) : "none decided", rate?.acceptance != null ? `${percent(rate.acceptance)} in the last minute` : `${number(now.decided)} decided`),
      fact("Requests", rate ? `${number(rate.requests, 1)}/s` : "–", `${number(now.requests_answered)} answered, ${number(now.requests_failed)} given up`),
      fact("Tokens", rate ? `${number(rate.tokens)}/s` : "–", `${number(tokens)} in all, prompt and completion`),
      fact("In flight", limit ? `${number(sum("in_flight"))} of ${number(limit)}` : number(now.requests_in_flight), limit ? `requests, of the endpoints' limit; ${number(sum("waiting"))} wait` : "requests"),
      fact("Cost", now.cost ? money(now.cost) : "none", now.cost ? `${now.accepted ? `${money(now.cost / now.accepted)} an accepted row, ` : ""}in your currency` : tokens ? "no endpoint has a price" : "nothing was asked yet"),
      fact("Adapter in service", now.adapter_in_service || "none", now.adapter_in_service ? `${inWords(now.serving.state)}${now.serving.model ? `: ${now.serving.model}` : ""}` : "the base alone answers"),
      disk(now),
    ),
  ];
}

function endpoints(now) {
  const rows = Object.entries(now.endpoints).map(([name, one]) => [
    name, inWords(one.state) + (one.reason ? `: ${one.reason}` : ""), one.in_flight, one.limit, WHY[one.limit_reason] ?? inWords(one.limit_reason), one.waiting,
    one.requests, one.failures, one.throttled, `${number(one.oldest_in_flight_s, 1)} s`]);
  const isBusy = ["generating"].includes(now.phase);
  return table("Endpoints", ["endpoint", "state", "in flight", "limit", "why this limit", "waiting", "answered", "failed", "throttled", "oldest in flight"], rows,
    isBusy ? "The endpoints are being opened." : `No endpoint is open while the service is ${PHASES[now.phase] ?? inWords(now.phase)}; they are opened to generate.`);
}

function nodes(now) {
  if (!now.nodes.length) return [];
  const rows = now.nodes.map((one) => [one.name, one.host, one.role, one.is_lost ? "gone" : inWords(one.phase), one.in_flight, one.undecided,
    number(one.accepted_per_min, 1), number(one.tokens_per_s), `${number(one.last_seen_s)} s ago`]);
  return [table("Services on this pool", ["service", "host", "role", "phase", "in flight", "undecided", "accepted a minute", "tokens a second", "seen"], rows, "")];
}

function alarms(now) {
  if (!now.alarms.length) return [make("p", { class: "calm" }, "No alarm.")];
  return [make("ul", { class: "alarms" }, now.alarms.map((alarm) => make("li", {}, make("strong", {}, "Alarm: "), alarm)))];
}

function charts(samples) {
  const plain = (name) => samples.map((one) => [one.at, one[name]]);
  return [
    lines("Accepted", [{ name: "accepted", points: plain("accepted") }], { unit: "rows in all", labelOf: clock, fromZero: false }),
    lines("Acceptance", [{ name: "acceptance", points: smoothed(acceptance(samples)) }], { unit: "accepted of what was decided", suffix: "%", labelOf: clock, empty: "Nothing was decided since the service started; it is drawn when rows are." }),
    lines("Requests answered", [{ name: "requests", points: smoothed(since(samples, "requests")) }], { unit: "a second", labelOf: clock }),
    lines("Requests in flight", [{ name: "in flight", points: plain("in_flight") }, { name: "limit", points: plain("limit") }], { unit: "at once", labelOf: clock }),
    lines("Tokens", [{ name: "tokens", points: smoothed(since(samples, "tokens")) }], { unit: "a second, prompt and completion", labelOf: clock }),
    lines("Cost", [{ name: "cost", points: samples.some((one) => one.cost) ? plain("cost") : [] }], { unit: "in all, in your currency", labelOf: clock, empty: "Nothing has cost money: it is drawn when an endpoint has a price (price_per_million_… in its settings)." }),
  ];
}

const happened = () => table("What happened since this page was opened", ["time", "event", "details"], live.events.slice(-12).reverse().map((one) =>
  [clock(one.at), inWords(one.kind).replaceAll(".", " "), Object.entries(one.fields).map(([name, value]) => `${inWords(name)} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ").slice(0, 300)]),
"Nothing happened since this page was opened. What begins, ends or goes wrong is told here as it happens.");

export async function overview() {
  const [first, intent, history] = await Promise.all([live.status ?? ask("/v1/status"), ask("/v1/control"), ask("/v1/history")]);
  let samples = history.samples, asked = 0;
  const warn = make("div", { role: "status" }), top = make("div"), low = make("div"), drawn = make("div", { class: "charts" });
  const wanted = make("span", {}, inWords(intent.state));
  const target = field("Stop generating at", { type: "number", min: "1", value: intent.target ?? "", placeholder: "no limit" });
  const steer = (text, action) => button(text, () => post(`/v1/control/${action}`), { then: (answer) => { wanted.textContent = inWords(answer.state); } });
  async function refresh(now) {
    if (Date.now() - asked > 4000) {
      asked = Date.now();
      samples = (await ask("/v1/history")).samples;
      refill(drawn, charts(samples));
    }
    const found = alarms(now);
    if (warn.textContent !== found.map((one) => one.textContent).join("")) refill(warn, found);
    refill(top, figures(now, samples));
    refill(low, endpoints(now), ...nodes(now), happened());
  }
  await refresh(first);
  const controls = make("section", { class: "controls", "aria-label": "What is wanted" },
    make("p", {}, "Wanted: ", make("strong", {}, wanted), ". ", steer("Start", "start"), steer("Pause", "pause"), steer("Drain", "drain")),
    make("p", {}, target.element, " accepted rows ", button("Set target", () => put("/v1/control/target", { target: target.control.value ? Number(target.control.value) : null }))),
    hint("Pause ends generation and lets a training that is due go on; drain begins nothing new at all. Empty: go on for ever."));
  return { title: "Overview", parts: [warn, top, controls, drawn, low], refresh };
}
