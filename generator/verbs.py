"""What an instruction asks for, in two words: its leading verb and that verb's object, without a parser.

Self-Instruct counts verb-noun pairs by a parser's tree (Wang et al. 2023, figure 3). Instructions begin with their
verb so often that a lexicon and the order of words nearly do; `docs/diversity.md` tells how often both agree.
English only: an instruction in another language has no verb here, and the measure says so by its share.
"""
# ruff: noqa: SIM905 - a word list reads better as text than as a list

import re
from dataclasses import dataclass

_VERBS = frozenset(
    (
        "abridge act adapt add adjust advise alphabetise alphabetize amend analyse analyze announce annotate "
        "answer apologise apologize apply argue arrange ask assess assign assume begin boil brainstorm break "
        "bring build calculate capitalise capitalize capture categorise categorize change characterise "
        "characterize check choose cite clarify classify clean collect combine come comment compare compile "
        "complete compose compress compute conclude condense conduct confirm consider construct continue contrast "
        "convert convince copy correct count craft create criticise criticize critique debate debug decide "
        "decline deduce define deliver demonstrate derive describe design detail detect determine develop devise "
        "diagnose differentiate discuss distinguish divide draft draw edit elaborate eliminate enumerate estimate "
        "evaluate examine exclude expand explain explore express extend extract fetch figure fill filter find "
        "finish fix flag follow forecast format formulate generate get give go group guess guide handle help "
        "highlight hypothesise hypothesize identify illustrate imagine implement improve include indicate infer "
        "inform insert interpret introduce invent judge justify label lay lead leave let list locate look make "
        "map mark match measure mention merge model modernise modernize modify multiply name narrate negotiate "
        "normalise normalize note number offer optimise optimize order organise organize outline pair paraphrase "
        "parse perform personify persuade phrase pick pitch place plan play point polish predict prepare present "
        "prioritise prioritize produce proofread propose prove provide pull punctuate put quote rank rate read "
        "rearrange recall recast recommend record reduce refactor reflect reformat refuse remove rename render "
        "reorder reorganise reorganize repeat rephrase replace reply report request respond restate restore "
        "restructure resolve retell return reverse review revise reword rewrite round say scan schedule score "
        "search select separate sequence serialise serialize set share shorten show simplify simulate sketch "
        "solve sort specify spell split spot standardise standardize start state structure style submit "
        "substitute subtract suggest sum summarise summarize support switch tag take talk teach tell test think "
        "time title trace transcribe transform translate trim turn update use validate vary verify visit warn "
        "weigh work write"
    ).split()
)
_AUXILIARIES = frozenset("can could will would should may might must do does did is are was were has have".split())
_QUESTIONS = frozenset("what how why which who whom whose where when".split())
_ENDS_AN_OBJECT = frozenset(
    (
        "about above across after against along among and around as at because before behind below beside between "
        "beyond but by during for from given here if in including inside into is are like near of on onto or out "
        "over per so than that then there through to toward towards under until up upon using via when where "
        "whether which while who whose why how what with within without was were can could should would will must "
        "might may has have"
    ).split()
)
_SKIPPED = frozenset("me us him them you it back up out down off".split())
_NOT_A_NOUN = frozenset(
    (
        "a an the my your his her its our their this that these those each every no any some all both another "
        "one two three four five six seven eight nine ten few several many more most short brief long simple new good "
        "single own following given"
    ).split()
)
_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*|[^\sA-Za-z]")
_WORDS_LOOKED_AT = 30


@dataclass(frozen=True, slots=True)
class Asked:
    """What an instruction asks for."""

    verb: str
    """In lower case; empty where none leads."""
    noun: str
    """The head of the verb's object, in the singular; empty where it has none."""


def asked_for(instruction: str) -> Asked:
    """Return the leading verb of an instruction and the head of its object.

    What stands before the verb may be anything ("In one sentence, …", "Please …", "Can you …"): the first word of the
    lexicon that opens a clause counts, and where none does the first that follows no article or preposition.
    """
    tokens = [word.lower() for word in _WORD.findall(instruction[:400])][:_WORDS_LOOKED_AT]
    place = _verb_at(tokens)
    if place is None:
        return Asked("", "")
    return Asked(tokens[place], _object_after(tokens, place))


def _verb_at(tokens: list[str]) -> int | None:
    candidates = [place for place, word in enumerate(tokens) if word in _VERBS]
    for place in candidates:
        if place == 0 or tokens[place - 1] in {",", ":", ";", ".", "!", "please", "then", "and"}:
            return place
    if tokens and tokens[0] in _QUESTIONS:
        return None
    for place in candidates:
        if tokens[place - 1] in {"you", "to", "i", "we"} and not _is_a_statement(tokens, place):
            return place
    return None


def _is_a_statement(tokens: list[str], place: int) -> bool:
    """Tell "I work in a shop" from "can you work this out" and "I want you to work this out"."""
    if tokens[place - 1] in {"i", "we"}:
        return not any(word in _AUXILIARIES for word in tokens[max(0, place - 2) : place - 1])
    return False


def _object_after(tokens: list[str], place: int) -> str:
    """Return the last word of the noun phrase that follows; what goes on behind a preposition describes it only."""
    phrase: list[str] = []
    for word in tokens[place + 1 :]:
        if word in _SKIPPED and not phrase:
            continue
        if not word[0].isalpha():
            if word.isdigit() or word in {'"', "'", "“", "‘"}:
                continue
            break
        if word in _ENDS_AN_OBJECT or word in _SKIPPED:
            break
        phrase.append(word)
    nouns = [word for word in phrase if word not in _NOT_A_NOUN and not word.endswith("ly")]
    return singular(nouns[-1]) if nouns else ""


def singular(noun: str) -> str:
    """Return the singular of a regular English plural; other words stay."""
    if len(noun) > 4 and noun.endswith("ies"):
        return noun[:-3] + "y"
    if noun.endswith(("sses", "shes", "ches", "xes", "zes")):
        return noun[:-2]
    if len(noun) > 3 and noun.endswith("s") and not noun.endswith(("ss", "us", "is")):
        return noun[:-1]
    return noun
