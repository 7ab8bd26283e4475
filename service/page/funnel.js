// Funnel: from what models wrote to accepted rows, filter by filter; a reason leads to its rows.
import { ask } from "./api.js";
import { fact, facts, hint, inWords, make, number, percent, refill, table } from "./dom.js";
import { shareBar } from "./draw.js";

const rowsOf = (filter, reason) => `#rows?${new URLSearchParams({ state: "refused", filter, reason })}`;

function shown(found) {
  const reasons = found.stages.flatMap((stage) => Object.entries(stage.reasons).map(([reason, rows]) => [
    stage.filter, make("a", { href: rowsOf(stage.filter, reason) }, inWords(reason)), rows, percent(rows / found.decided, 1)]));
  const stages = found.stages.map((stage) => [
    inWords(stage.filter), stage.came, stage.refused, stage.came ? percent(stage.refused / stage.came, 1) : "–", shareBar(found.decided ? (stage.came - stage.refused) / found.decided : 0)]);
  return [
    facts(fact("Candidates decided", number(found.decided)), fact("Accepted", number(found.accepted), found.decided ? percent(found.accepted / found.decided, 1) : ""),
      fact("Unreadable pieces", number(Object.values(found.unreadable).reduce((sum, rows) => sum + rows, 0)), "of answers, before they were candidates")),
    table("Filter by filter", ["filter", "came", "refused", "refused of these", "left of all"], stages, "No candidate was decided yet."),
    table("Reasons of refusal", ["filter", "reason", "rows", "of all"], reasons, "Nothing was refused yet."),
    table("Pieces that could not be read", ["reason", "pieces"], Object.entries(found.unreadable).map(([reason, rows]) => [make("a", { href: `#funnel?unreadable=${encodeURIComponent(reason)}` }, inWords(reason)), rows]), "Every piece of every answer could be read."),
    table("Instructions refused before anything was written for them", ["reason", "instructions"], Object.entries(found.proposals_refused).map(([name, rows]) => [inWords(name).replace(".", ": "), rows]), "None."),
    hint("A reason leads to its rows."),
  ];
}

async function unreadable(reason) {
  const pieces = await ask(`/v1/pool/unreadable?${new URLSearchParams({ reason })}`);
  return { title: "Funnel", parts: [make("p", {}, make("a", { href: "#funnel" }, "Back to the funnel")), make("h3", {}, `Pieces that could not be read: ${inWords(reason)}`),
    ...(pieces.length ? pieces.map((one) => make("section", { class: "card" }, make("pre", {}, one.text), hint(`of the answer to request ${one.request_id}`))) : [hint("There are none.")])] };
}

export async function funnel(query) {
  if (query.get("unreadable")) return unreadable(query.get("unreadable"));
  const place = make("div");
  let last = "";
  async function refresh(now) {
    if (now && last === `${now.decided} ${now.accepted}`) return;
    const found = await ask("/v1/pool/funnel");
    last = `${found.decided} ${found.accepted}`;
    refill(place, shown(found));
  }
  await refresh(null);
  return { title: "Funnel", parts: [place], refresh };
}
