"""Rules of form for the instruction. Each is pure and names its source.

Self-Instruct (yizhongw/self-instruct 0b26cca, `bootstrap_instructions.py`) also drops every instruction that starts
with "Write a program", since GPT-3 wrote too many of them. That rule is left out: rows that ask for code are wanted
here, and their share is a matter of the category quotas.
"""

import re
import string

from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate
from seedbed.core.text import words
from seedbed.filters.finding import Finding, excerpt

_PUNCTUATION = frozenset(string.punctuation) - frozenset("\"'`([{<$@/\\")
"""A quotation, a formula or a name in code may open an instruction; Self-Instruct drops these too."""

_LIST_MARKER = re.compile(r"(?:\(?\d{1,3}[.):]|[-*•#])\s")

_GIVEN = (
    "text|texts|sentence|sentences|paragraph|passage|article|story|poem|e-?mail|letter|review|tweet|message|dialogue|"
    "conversation|excerpt|document|statement|quote|code|snippet|list|table|data|items|words"
)
_REFERS = re.compile(
    rf"\b(?:(?:the|this|these) (?:following|given|provided|below) (?:\w+ ){{0,2}}?(?:{_GIVEN})|"
    rf"(?:{_GIVEN}) (?:given |provided )?below)\b",
    re.IGNORECASE,
)


def too_few_words(row: Candidate, config: WellformedConfig) -> Finding | None:
    """Refuse 3 words or fewer (Self-Instruct)."""
    count = _count_words(row.instruction)
    if count >= config.min_instruction_words:
        return None
    return Finding(
        "instruction_too_short", excerpt(row.instruction), score=count, threshold=config.min_instruction_words
    )


def too_many_words(row: Candidate, config: WellformedConfig) -> Finding | None:
    """Refuse more than 150 words (Self-Instruct)."""
    if len(row.instruction) <= config.max_instruction_words:
        return None
    count = _count_words(row.instruction)
    if count <= config.max_instruction_words:
        return None
    return Finding(
        "instruction_too_long", excerpt(row.instruction), score=count, threshold=config.max_instruction_words
    )


def starts_with_punctuation(row: Candidate, config: WellformedConfig) -> Finding | None:
    """Refuse an instruction that starts with punctuation or a list's marker, the crumbs of bad parsing."""
    start = row.instruction.lstrip()[:6]
    if start[:1] in _PUNCTUATION or _LIST_MARKER.match(start):
        return Finding("starts_with_punctuation", excerpt(row.instruction[:40]))
    if config.ascii_start and not (start[:1].isascii() and start[:1].isalnum()):
        return Finding("starts_with_non_ascii", excerpt(row.instruction[:40]))
    return None


def missing_input(row: Candidate, config: WellformedConfig) -> Finding | None:
    """Refuse an instruction that points at a text which is not there: neither as input nor after it."""
    if row.input.strip() or (row.category or row.requested_category) in config.missing_input_in:
        return None
    instruction = row.instruction.rstrip()
    if instruction.endswith(":"):
        return Finding("missing_input", excerpt(instruction[-60:]))
    if instruction.isascii() and not _points(instruction.lower()):
        return None
    found = _REFERS.search(instruction)
    if found is None or any(mark in instruction[found.start() :] for mark in ":\n\"'“«`"):
        return None
    return Finding("missing_input", excerpt(found.group()))


def _points(lowered: str) -> bool:
    """Say whether a word is there without which `_REFERS` finds nothing in ASCII text."""
    return "following" in lowered or "given" in lowered or "provided" in lowered or "below" in lowered


def _count_words(text: str) -> int:
    """Count as Self-Instruct does, by blanks; text of a script without blanks by characters."""
    return len(text.split()) if text.isascii() else max(len(text.split()), len(words(text)))
