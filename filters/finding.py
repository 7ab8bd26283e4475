"""What a rule of form found in a candidate, and what several rules look at."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate
from seedbed.core.text import canonical

_EVIDENCE_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason to refuse, and the text that gave it."""

    reason: str
    """In snake_case, as the ledger and the funnel name it."""
    evidence: str = ""
    """The offending text, shortened."""
    score: float | None = None
    threshold: float | None = None


Rule: TypeAlias = Callable[[Candidate, WellformedConfig], Finding | None]


def excerpt(text: str) -> str:
    """Shorten text to what a ledger should carry; lone surrogates become U+FFFD."""
    text = canonical(text[: _EVIDENCE_CHARACTERS * 2])
    return text if len(text) <= _EVIDENCE_CHARACTERS else text[: _EVIDENCE_CHARACTERS - 1] + "…"


@lru_cache(maxsize=8)  # several rules ask this of the same fields in turn
def between_blanks(text: str) -> list[str]:
    """Return what stands between blanks, as `str.split` does; not to be changed."""
    return text.split()


@lru_cache(maxsize=8)
def longest_run(text: str) -> int:
    """Return the length of the longest stretch without a blank."""
    return max(map(len, between_blanks(text)), default=0)
