"""Instructions that ask for what a text model cannot see or do: to look at a picture, to draw, to open a page.

Self-Instruct and Alpaca refuse an instruction in which one of their words stands anywhere ("image", "file", "map",
"music", "draw", "go to" …). On 1,083 instructions of four public sets (self-instruct's user tasks, IFEval, MT-Bench,
Natural Instructions) that rule hits 29, of which one asks for such a thing; the others are about video games, plots
of stories, YAML files. So by default a word counts only where it is the object of looking or making, and never in a
task about code. `blocklist_rule = "anywhere"` is the blunt rule.
"""

import re
from collections.abc import Collection
from functools import lru_cache

from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate
from seedbed.filters.finding import Finding, excerpt

_ABOUT_CODE = re.compile(
    r"\b(?:code|script|program|programming|function|method|class|algorithm|command|query|regex|api|compiler|python|java|"
    r"javascript|typescript|rust|ruby|php|sql|bash|shell|linux|unix|html|css|svg|latex|markdown|json|yaml|xml|csv|"
    r"ascii|mermaid|graphviz|matplotlib|pandas|numpy)\b|\bC(?:\+\+|#)",
    re.IGNORECASE,
)
_POINT = r"(?:this|these|that|those|the|my|following|given|attached|enclosed|accompanying|provided|linked)"
_LOOK = (
    r"(?:in|at|on|from|see|view|watch|open|play|read|describe|analy[sz]e|examine|identify|study|interpret|label|colou?r|"
    r"caption|transcribe|listen to|look at|based on|according to)"
)
_MAKE = (
    r"(?:create|make|draw|generate|design|produce|record|paint|sketch|render|upload|download|take|send|attach|edit|crop|"
    r"compose)"
)
_END = (
    r"(?=\s*(?:[.,;:?!)]|$)|\s+(?:of|that|which|with|showing|depicting|illustrating|for|about|to|in|on|and|or|from|below|"
    r"above|using|is|are|was|shown|attached|provided|as|into|at|where|\w+ly)\b)"
)
_IMPERATIVE = r"(?:^|[.!?;:]\s+|\b(?:and|then|please|also|to|can you|could you)\s+)"
_NO_OBJECT = (
    r"(?!\s+(?:(?:a|any|some|your|the|an?)\s+)?(?:conclusions?|inspiration|on|upon|from|attention|parallels?|up)\b)"
)

_PAGE = r"(?:this|the) (?:\w+ )?(?:link|page|site|website|url|store|shop)\b|https?:|www\.|\w+\.(?:com|org)\b"

_VERBS = frozenset(("draw", "plot"))
_MADE_OF_TEXT = frozenset(("file", "files", "graph", "graphs", "map", "maps", "music"))
"""What an input can hold as text: a row that has one may point at these."""


def blocklisted_word(row: Candidate, config: WellformedConfig) -> Finding | None:
    """Refuse an instruction that asks for something of the blocklist (Self-Instruct; Alpaca adds more words)."""
    lowered = row.instruction.lower()
    if not any(word in lowered for word in config.blocklist):
        return None
    found = _anywhere(config.blocklist).search(lowered)
    if found is None:
        return None
    if config.blocklist_rule == "asked_for":
        if _ABOUT_CODE.search(row.instruction):
            return None
        found = _asked_for(config.blocklist, bool(row.input.strip())).search(lowered)
    return Finding("blocklisted_word", excerpt(found.group().strip())) if found else None


@lru_cache(maxsize=16)
def _anywhere(blocked: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_any(blocked)})\b")


@lru_cache(maxsize=16)
def _asked_for(blocked: tuple[str, ...], has_input: bool) -> re.Pattern[str]:
    """Build the pattern of asking: look at one, make one, draw, go to a page."""
    nouns = [word for word in blocked if word not in _VERBS and word != "go to"]
    shown = [word for word in nouns if not (has_input and word in _MADE_OF_TEXT)]
    ways = [
        rf"\b{_LOOK} {_POINT} (?:\w+ )?(?:{_any(shown)}){_END}",
        rf"\b(?:attached|following|accompanying|enclosed) (?:\w+ )?(?:{_any(shown)}){_END}",
        rf"\b(?:{_any(shown)}) (?:below|above|attached|provided|shown)\b",
        rf"\b{_MAKE} (?:me |us )?(?:an? |the |some |this |these )?(?:[\w-]+ ){{0,2}}?(?:{_any(nouns)}){_END}",
    ]
    if _VERBS & set(blocked):
        ways.append(rf"{_IMPERATIVE}(?:{_any(_VERBS & set(blocked))})\b{_NO_OBJECT}")
    if "go to" in blocked:
        ways.append(rf"\bgo to (?:{_PAGE})")
    return re.compile("|".join(ways))


def _any(blocked: Collection[str]) -> str:
    return "|".join(re.escape(word.lower()) for word in sorted(blocked, key=len, reverse=True)) or r"(?!)"
