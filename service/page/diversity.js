// Diversity: what is wrong and what is done about it, measures against their bounds, categories against their targets,
// how instructions begin, how near rows are to their nearest neighbour, how long they are.
import { ask } from "./api.js";
import { fact, facts, hint, inWords, make, number, percent, refill, table } from "./dom.js";
import { bars, shareBar } from "./draw.js";
import { live } from "./live.js";

const COMMONEST = 20;  // as many as are told of each
const CAUSES = ["repeated wording", "few verbs", "few categories", "deep lineage", "falling acceptance"];
const causeOf = (alarm) => CAUSES.find((cause) => alarm.startsWith(`${cause}: `));

function binNames(edges) {
  return edges.map((edge, place) => (place + 1 === edges.length ? `${edge}+` : edges[place + 1] - edge === 1 ? `${edge}` : `${edge}–${edges[place + 1] - 1}`));
}

function similarity({ accepted, refused, far, threshold }) {
  const from = accepted.edges.findIndex((_, bin) => accepted.counts[bin] || refused.counts[bin]);
  const first = Math.max(0, from), labels = accepted.edges.slice(first).map((edge) => edge.toFixed(2));
  const low = accepted.edges[first], mark = threshold === null || from < 0 ? null : { share: (threshold - low) / (1 - low), text: `threshold ${threshold}` };
  return [bars("Similarity to the nearest neighbour", labels, [{ name: "accepted", values: accepted.counts.slice(first) }, { name: "refused", values: refused.counts.slice(first) }],
    { unit: "rows by ROUGE-L of instructions", xName: "from", mark, areEdges: true, empty: "No instruction was near enough to another to be measured; those that are will be drawn here." }),
  hint(`${number(far)} accepted rows had nothing near enough to be measured.`)];
}

// What is wrong, each with its cause and what generation does otherwise while it lasts.
function wrongs({ written, reactions, bounds }, standing) {
  const done = Object.fromEntries(reactions.map((one) => [inWords(one.cause), one])), alarms = standing.filter(causeOf);
  const told = alarms.map((alarm) => [causeOf(alarm), alarm.slice(causeOf(alarm).length + 2)]);
  const all = [...told, ...reactions.map((one) => [inWords(one.cause), one.reason]).filter(([cause]) => !told.some(([other]) => other === cause))];
  if (!all.length) return [make("p", { class: "calm" }, !written ? "No alarm: too little is written to tell." : MEASURES.some(([, name, setting]) => isBeyond(written, bounds, name, setting))
    ? "No alarm stands while nothing is generated, but what was written last is beyond a bound." : "No alarm: what is written lately is within its bounds.")];
  return [make("ul", { class: "alarms" }, all.map(([cause, reason]) => make("li", {}, make("strong", {}, `Alarm, ${cause}: `), reason, ". ",
    make("br"), done[cause] ? `While it lasts, generation does otherwise: ${done[cause].changes}.` : bounds.react ? "Generation will react with the next look." : "Generation goes on as it was: diversity.react is off.")))];
}

// [name, value of a measure, its bound's setting, how it is written]; what was kept is all accepted and has no likes.
const MEASURES = [
  ["different word pairs", "distinct_2", "min_distinct_2", (value) => percent(value)],
  ["rows like another one", "near_duplicates", "max_near_duplicates", (value) => percent(value), "written"],
  ["instructions with the commonest beginning", "leading_share", "max_leading_word", (value) => percent(value)],
  ["category entropy, of that asked for", "category_evenness", "min_category_entropy", (value) => percent(value)],
  ["generations behind a row, on average", "mean_depth", "max_mean_depth", (value) => value.toFixed(1)],
  ["change of acceptance, newer half minus older", "acceptance_slope", "min_acceptance_slope", (value) => difference(100 * value), "written"],
  ["acceptance", "acceptance", null, (value) => percent(value), "written"],
  ["different words", "distinct_1", null, (value) => percent(value)],
  ["category entropy", "category_entropy", null, (value) => `${value.toFixed(2)} bits`],
  ["most generations behind a row", "max_depth", null, (value) => number(value)],
];

function isBeyond(found, bounds, name, setting) {
  if (!setting || found[name] === null) return false;
  return setting.startsWith("min_") ? found[name] < bounds[setting] : found[name] > bounds[setting];
}

function measures({ written, kept, bounds }) {
  const write = (found, name, as) => (found?.[name] === undefined || found[name] === null ? "–" : as(found[name]));
  const rows = MEASURES.map(([text, name, setting, as, only]) => {
    const bound = setting && bounds[setting], isLow = setting?.startsWith("min_");
    const stands = !setting || !written || written[name] === null ? "–" : isBeyond(written, bounds, name, setting) ? make("strong", { class: "error" }, "beyond it") : "within";
    return [text, write(written, name, as), only ? "–" : write(kept, name, as), setting ? `at ${isLow ? "least" : "most"} ${as(bound)}` : "–", stands, setting ? `diversity.${setting}` : "–"];
  });
  return table("Measures against their bounds", ["measure", "written lately", "kept", "bound of the lately written", "stands", "setting"], written || kept ? rows : [],
    `Too few rows: measured when ${number(bounds.window / 2)} are decided.`);
}

const spaced = (counts) => Object.entries(counts).map(([name, rows]) => `${name || "(nothing)"} ${number(rows)}`).join(", ");

// Beginnings of instructions, the commonest first: written lately beside kept.
function beginnings({ written, kept }) {
  const of = (found, word) => (found ? (found.leading_words[word] ?? 0) / found.rows : null);
  const shown = (share) => (share === null || share === 0 ? "–" : percent(share, 1));
  const words = [...new Set([...Object.keys(written?.leading_words ?? {}), ...Object.keys(kept?.leading_words ?? {})])]
    .map((word) => [word, of(written, word), of(kept, word)]).sort((one, other) => (other[1] ?? other[2]) - (one[1] ?? one[2]) || other[2] - one[2]);
  const widest = Math.max(...words.flatMap(([, lately, all]) => [lately ?? 0, all ?? 0]));
  return make("div", {}, table("How instructions begin", ["verb or word", "written lately", "kept", "lately as a bar", "kept as a bar"],
    words.map(([word, lately, all]) => [word || "(nothing)", shown(lately), shown(all), lately === null ? "–" : shareBar(lately / widest), all === null ? "–" : shareBar(all / widest)]),
    "Too few rows: the commonest verbs and first words will stand here with their shares."), hint(`A dash: not among its ${COMMONEST} commonest.`));
}

function objects(title, found) {
  const total = (nouns) => Object.values(nouns).reduce((sum, rows) => sum + rows, 0), verbs = Object.entries(found?.verb_nouns ?? {}).sort(([, some], [, others]) => total(others) - total(some));
  const most = Math.max(1, ...verbs.map(([, nouns]) => total(nouns)));
  return table(title, ["verb", "rows", "as a bar", "of what, rows"], verbs.map(([verb, nouns]) => [verb, total(nouns), shareBar(total(nouns) / most), spaced(nouns)]),
    found ? "No instruction has a verb with an object that is recognised." : "Too few rows: verbs and the commonest nouns they are used with will stand here.");
}

function lengths({ written, kept }) {
  const write = (one) => (one ? `${number(one.median, 1)} (${number(one.p10, 1)} to ${number(one.p90, 1)})` : "–");
  const names = [...new Set([...Object.keys(written?.lengths ?? {}), ...Object.keys(kept?.lengths ?? {})])];
  return table("Lengths in words: median, and between what four fifths lie", ["field", "written lately", "kept"], names.map((name) => [name, write(written?.lengths[name]), write(kept?.lengths[name])]),
    "No row was written yet.");
}

const difference = (points) => (Math.abs(points) < 0.05 ? "0.0 points" : `${points > 0 ? "+" : "−"}${Math.abs(points).toFixed(1)} points`);

function shown(found, measured, alarms) {
  const widest = Math.max(...found.categories.flatMap((one) => [one.share, one.target ?? 0])) || 1;
  const categories = found.categories.map((one) => [inWords(one.category), one.accepted, one.decided, percent(one.share, 1), one.target === null ? "–" : percent(one.target, 1),
    one.target === null ? "–" : difference(100 * (one.share - one.target)), one.target === null ? "held out, not wanted" : shareBar(one.share / widest, one.target / widest)]);
  const middle = (name) => (found.lengths[name].median === null ? "–" : `${number(found.lengths[name].median, 1)} words`);
  const filled = found.categories.filter((one) => one.target).length, used = found.categories.filter((one) => one.target && one.accepted).length;
  const { written, kept, bounds } = measured;
  return [
    wrongs(measured, alarms),
    facts(fact("Written lately", written ? `${number(written.rows)} rows` : "too few", written ? "the newest, accepted or refused" : `measured from ${number(bounds.window / 2)} rows on`), fact("Kept", kept ? `${number(kept.rows)} rows` : "none", kept ? "accepted, drawn from all" : "measured when a row is accepted"),
      fact("Categories with rows", `${used} of ${filled}`, "that are wanted"), fact("Median output", middle("output"), `instruction ${middle("instruction")}, input ${middle("input")}`)),
    measures(measured),
    make("div", { class: "pair" }, make("div", {}, table("Categories against their targets", ["category", "accepted", "decided", "share", "target", "difference", "share, and target as a line"], categories, "There is no category: the workspace's seeds/categories.toml names them."),
      make("p", {}, "Targets are set under ", make("a", { href: "#settings" }, "Settings"), ".")), beginnings(measured)),
    make("div", { class: "pair even" }, objects("Verbs and their nouns, written lately", written), objects("Verbs and their nouns, kept", kept)),
    lengths(measured),
    make("div", { class: "charts" }, make("div", {}, similarity(found.similarity)),
      Object.entries(found.lengths).map(([name, one]) => bars(`Length of the ${name}`, binNames(one.edges), [{ name: "rows", values: one.counts }], { unit: "accepted rows by words", xName: "words", empty: "No accepted row yet; their lengths will be drawn here." }))),
    hint(`Similarity and lengths are of the newest ${number(found.looked_at)} candidates.`),
  ];
}

export async function diversity() {
  const place = make("div");
  let last = "", asked = 0;
  async function refresh(now) {
    const stands = now ? JSON.stringify([now.decided, now.alarms.filter(causeOf), now.reactions]) : "";
    if (now && (stands === last || Date.now() - asked < 10000)) return;
    asked = Date.now();
    last = stands;
    const [found, measured, { alarms }] = await Promise.all([ask("/v1/pool/spread"), ask("/v1/diversity"), now ?? live.status ?? ask("/v1/status")]);
    refill(place, shown(found, measured, alarms));
  }
  await refresh(null);
  return { title: "Diversity", parts: [place], refresh };
}
