"""Rules of form for the output, alone and against instruction and input."""

import re

from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate
from seedbed.core.text import canonical
from seedbed.filters.finding import Finding, excerpt

_VISIBLE = re.compile(
    "[^\\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)
_BROKEN = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffd\ufffe\uffff\ud800-\udfff]")
_PUNCTUATION = " .!?:;\"'`"
_LEFT_OUT = f"{_PUNCTUATION}\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"
"""Also what `str.split` takes as a blank in ASCII text."""
_CODE_HEAD = re.compile(
    r"^\s*(?:async\s+)?(?:def|class|if|elif|else|for|while|try|except|finally|with|match|case|switch|default)\b.*:$"
)


def broken_characters(row: Candidate, _: WellformedConfig) -> Finding | None:
    """Refuse control characters, lone surrogates and U+FFFD: traces of broken decoding."""
    for text in (row.instruction, row.input, row.output):
        if text.isascii() and text.isprintable():
            continue
        found = _BROKEN.search(text)
        if found:
            return Finding("broken_characters", f"U+{ord(found.group()):04X} at character {found.start()}")
    return None


def too_long(row: Candidate, config: WellformedConfig) -> Finding | None:
    """Refuse a field longer than anything one means to train on; also keeps the cost of every later rule small."""
    length = max(len(row.instruction), len(row.input), len(row.output))
    if length <= config.max_field_characters:
        return None
    return Finding("too_long", f"{length} characters", score=length, threshold=config.max_field_characters)


def empty_output(row: Candidate, _: WellformedConfig) -> Finding | None:
    """Refuse an output without a visible character (Self-Instruct drops empty ones)."""
    return None if len(row.output) > 2000 or _VISIBLE.search(row.output) else Finding("empty_output")


def input_equals_output(row: Candidate, _: WellformedConfig) -> Finding | None:
    """Refuse an output that is the input (Self-Instruct); letter case counts, since changing it can be the task."""
    if row.input and canonical(row.input) == canonical(row.output):
        return Finding("input_equals_output", excerpt(row.output))
    return None


def echo(row: Candidate, _: WellformedConfig) -> Finding | None:
    """Refuse an output that only repeats the instruction, with or without the input; and an input that does."""
    if not row.input and _begin_otherwise(row.instruction, row.output):
        return None
    instruction, given, output = _bare(row.instruction), _bare(row.input), _bare(row.output)
    if output == instruction:
        return Finding("echo", excerpt(row.output))
    if given and given == instruction:
        return Finding("input_repeats_instruction", excerpt(row.input))
    if given and len(output) > len(instruction) and output.startswith(instruction):
        rest = _bare(output[len(instruction) :])
        if rest in {given, f"input: {given}"}:
            return Finding("echo", excerpt(row.output))
    return None


def ends_with_colon(row: Candidate, _: WellformedConfig) -> Finding | None:
    """Refuse an input or output that ends in ":" (Self-Instruct): what it announces is missing.

    The head of a block of code as input (`def add(a, b):`) is what a completion task looks like, and stays.
    """
    if row.output.rstrip().endswith(":"):
        return Finding("ends_with_colon", excerpt(row.output.rstrip()[-60:]))
    given = row.input.rstrip()
    if given.endswith(":") and not _CODE_HEAD.match(given.rsplit("\n", 1)[-1]):
        return Finding("ends_with_colon", excerpt(given[-60:]))
    return None


def _begin_otherwise(one: str, other: str) -> bool:
    """Tell by their first letters that two texts differ, where that is sure: most do, and `_bare` takes its time."""
    if not (one.isascii() and other.isascii()):
        return False
    return one.lstrip(_LEFT_OUT)[:1].lower() != other.lstrip(_LEFT_OUT)[:1].lower()


def _bare(text: str) -> str:
    """Reduce to what makes an echo: lower case, single blanks, no punctuation at the ends."""
    return " ".join(text.lower().split()).strip(_PUNCTUATION)
