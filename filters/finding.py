"""What a rule of form found in a candidate."""

from collections.abc import Callable
from dataclasses import dataclass
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
