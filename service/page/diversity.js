// Diversity: categories against their targets, how near rows are to their nearest neighbour, how long they are.
import { ask } from "./api.js";
import { fact, facts, hint, inWords, make, number, percent, refill, table } from "./dom.js";
import { bars, shareBar } from "./draw.js";

function binNames(edges) {
  return edges.map((edge, place) => (place + 1 === edges.length ? `${edge}+` : edges[place + 1] - edge === 1 ? `${edge}` : `${edge}–${edges[place + 1] - 1}`));
}

function similarity({ accepted, refused, far, threshold }) {
  const from = accepted.edges.findIndex((_, bin) => accepted.counts[bin] || refused.counts[bin]);
  const first = Math.max(0, from), labels = accepted.edges.slice(first).map((edge) => edge.toFixed(2));
  const low = accepted.edges[first], mark = threshold === null || from < 0 ? null : { share: (threshold - low) / (1 - low), text: `threshold ${threshold}` };
  return [bars("Similarity to the nearest neighbour", labels, [{ name: "accepted", values: accepted.counts.slice(first) }, { name: "refused", values: refused.counts.slice(first) }],
    { unit: "ROUGE-L of instructions; bins of 0.05, rows", xName: "from", mark, empty: "No instruction was near enough to another to be measured." }),
  hint(`${number(far)} accepted rows had nothing near enough to be measured.`)];
}

const difference = (points) => (Math.abs(points) < 0.05 ? "0.0 points" : `${points > 0 ? "+" : "−"}${Math.abs(points).toFixed(1)} points`);

function shown(found) {
  const widest = Math.max(...found.categories.flatMap((one) => [one.share, one.target ?? 0])) || 1;
  const categories = found.categories.map((one) => [inWords(one.category), one.accepted, one.decided, percent(one.share, 1), one.target === null ? "not wanted" : percent(one.target, 1),
    one.target === null ? "–" : difference(100 * (one.share - one.target)), shareBar(one.share / widest, one.target === null ? null : one.target / widest)]);
  const middle = (name) => (found.lengths[name].median === null ? "–" : `${number(found.lengths[name].median, 1)} words`);
  const filled = found.categories.filter((one) => one.target).length, used = found.categories.filter((one) => one.target && one.accepted).length;
  return [
    facts(fact("Categories with rows", `${used} of ${filled}`), fact("Median instruction", middle("instruction")), fact("Median input", middle("input"), "empty ones count as 0"), fact("Median output", middle("output"))),
    table("Categories against their targets", ["category", "accepted", "decided", "share", "target", "difference", "share, and target as a line"], categories, "There is no category."),
    make("p", {}, "Targets are set under ", make("a", { href: "#settings" }, "Settings"), "."),
    make("div", { class: "charts" }, make("div", {}, similarity(found.similarity)),
      Object.entries(found.lengths).map(([name, one]) => bars(`Length of the ${name}`, binNames(one.edges), [{ name: "rows", values: one.counts }], { unit: "words, accepted rows", xName: "words", empty: "No accepted row yet." }))),
    hint(`Similarity and lengths are of the newest ${number(found.looked_at)} candidates.`),
  ];
}

export async function diversity() {
  const place = make("div");
  let last = -1, asked = 0;
  async function refresh(now) {
    if (now && (now.decided === last || Date.now() - asked < 10000)) return;
    asked = Date.now();
    last = now?.decided ?? -1;
    refill(place, shown(await ask("/v1/pool/spread")));
  }
  await refresh(null);
  return { title: "Diversity", parts: [place], refresh };
}
