// Funnel: from what models wrote to accepted rows, filter by filter; a reason leads to its rows.
import { ask } from "./api.js";
import { fact, facts, hint, inWords, make, number, percent, refill, table } from "./dom.js";
import { shareBar } from "./draw.js";

const rowsOf = (filter, reason) => `#rows?${new URLSearchParams({ state: "refused", filter, reason })}`;

function shown(found) {
  const left = (rows) => (found.decided ? [percent(rows / found.decided, 1), shareBar(rows / found.decided)] : ["–", ""]);
  const reasons = found.stages.flatMap((stage) => Object.entries(stage.reasons).map(([reason, rows]) => [
    inWords(stage.filter), make("a", { href: rowsOf(stage.filter, reason) }, inWords(reason)), rows, percent(rows / found.decided, 1)]));
  const stages = found.stages.map((stage) => [
    inWords(stage.filter), stage.came, stage.refused, stage.came ? percent(stage.refused / stage.came, 1) : "–", ...left(stage.came - stage.refused)]);
  return [
    facts(fact("Candidates decided", number(found.decided), "rows that models wrote"), fact("Accepted", number(found.accepted), found.decided ? `rows, ${percent(found.accepted / found.decided, 1)} of what was decided` : "rows"),
      fact("Unreadable pieces", number(Object.values(found.unreadable).reduce((sum, rows) => sum + rows, 0)), "of answers, before they were candidates"),
      fact("Refused early", number(Object.values(found.proposals_refused).reduce((sum, rows) => sum + rows, 0)), "instructions, before anything was written for them")),
    table("Filter by filter", ["filter", "came", "refused", "refused of these", "left of all", "as a bar"], found.decided ? stages : [], "No candidate was decided yet: each filter stands here with what it refuses as soon as rows are generated."),
    make("div", { class: "pair" },
      make("div", {}, table("Reasons of refusal", ["filter", "reason", "rows", "of all"], reasons, "Nothing was refused yet. Each reason will lead to its rows."), reasons.length ? hint("A reason leads to its rows.") : null),
      table("Pieces that could not be read", ["reason", "pieces"], Object.entries(found.unreadable).map(([reason, rows]) => [make("a", { href: `#funnel?unreadable=${encodeURIComponent(reason)}` }, inWords(reason)), rows]), "Every piece of every answer could be read. What cannot is kept and shown here, by reason."),
      table("Instructions refused early", ["reason", "instructions"], Object.entries(found.proposals_refused).map(([name, rows]) => [inWords(name).replace(".", ": "), rows]), "None. Recipes that propose instructions first have them looked at before anything is paid for their answers.")),
  ];
}

async function unreadable(reason) {
  const pieces = await ask(`/v1/pool/unreadable?${new URLSearchParams({ reason })}`);
  return { title: "Funnel", parts: [make("p", {}, make("a", { href: "#funnel" }, "Back to the funnel")), make("h3", {}, `Pieces that could not be read: ${inWords(reason)}`),
    ...(pieces.length ? pieces.map((one) => make("section", { class: "card" }, one.is_blanked ? hint("Its text was removed since it is old (retention in the settings).") : make("pre", {}, one.text || "(the answer was empty)"), hint(`of the answer to request ${one.request_id}`))) : [hint("There are none.")])] };
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
