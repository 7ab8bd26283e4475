r"""Outputs that were cut: by the token limit, or by a stop string with `finish_reason == "stop"`.

Self-Instruct sends stop strings such as "16." to end a numbered list at 15; they also cut "in 2016." to "in 20", and
the server calls that a regular stop. So the text itself is looked at. What a cut leaves for certain is refused; that
an output merely lacks its last full stop is not enough, since titles, lists, code and labels have none.
"""

import re

from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate
from seedbed.filters.finding import Finding, excerpt

_TAIL_CHARACTERS = 200
_MIN_WORDS = 8
"""Shorter outputs may rightly end in any word: "of" is a preposition."""

_CUT_YEAR = re.compile(r"\b(?:in|since|until|during|year)\s+(?:1[4-9]|20)\d?$", re.IGNORECASE)
_EMPTY_ITEM = re.compile(r"\n[ \t]*(?:\(?\d{1,3}[.)]|[-*•])$")
_DANGLING = re.compile(
    r"(?:,|\(|\b(?:the|a|an|and|or|because|although|than|whose|its|their|his|your|my|our|including|such as))$",
    re.IGNORECASE,
)
_MIN_PROSE_WORDS = 40
_PROSE_TAIL = re.compile(r"[a-z][.!?][\"')\]]? +[A-Z][a-z]*(?: [a-z'’-]+,?){3,}$")


def cut_output(row: Candidate, _: WellformedConfig) -> Finding | None:
    """Refuse an output whose end was cut off; one that ends in the comma its input ends in was not."""
    output = row.output.rstrip()
    tail = output[-_TAIL_CHARACTERS:]
    if _EMPTY_ITEM.search(tail):
        return Finding("cut_output", excerpt(tail[-40:]))
    if output.count("```") % 2:
        return Finding("cut_output", "``` without its end")
    if tail[-1:] == row.input.rstrip()[-1:] == ",":
        return None
    if tail[-1:] in ".!?\"'`)]}>;。！？”’" or len(tail.split()) < _MIN_WORDS:
        return None
    last_line = tail.rsplit("\n", 1)[-1]
    if _CUT_YEAR.search(last_line) or _DANGLING.search(last_line) or _is_cut_prose(output, last_line):
        return Finding("cut_output", excerpt(last_line[-60:]))
    return None


def _is_cut_prose(output: str, last_line: str) -> bool:
    """Tell a sentence that breaks off after at least two whole ones in its paragraph."""
    paragraph = output.rsplit("\n", 1)[-1]
    if len(paragraph.split()) < _MIN_PROSE_WORDS:
        return False
    if len(re.findall(r"[a-z][.!?] +[A-Z]", paragraph)) < 2:
        return False
    return _PROSE_TAIL.search(last_line) is not None
