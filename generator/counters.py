"""What a run counted, and why it ended."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Ended(StrEnum):
    """Why a run ended."""

    DONE = "done"
    """What was wanted is there."""
    STOPPED = "stopped"
    BUDGET = "budget_exhausted"
    FRUITLESS = "fruitless"
    """Too many requests in a row brought no row."""


@dataclass(slots=True)
class Counters:
    """Live counts of a run; read them at any time from the event loop."""

    assignments: int = 0
    requests: int = 0
    in_flight: int = 0
    completions: int = 0
    failed: int = 0
    """Requests set aside after their last attempt."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    proposals: int = 0
    proposals_accepted: int = 0
    candidates: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Candidates by `filter.reason`."""
    unreadable: Counter[str] = field(default_factory=Counter)
    """Pieces of completions by reason."""
    failures: Counter[str] = field(default_factory=Counter)
    """Requests set aside, by error and message."""
    elapsed_s: float = 0.0

    @property
    def tokens_per_s(self) -> float:
        """Completion tokens a second since the run began."""
        return self.completion_tokens / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def acceptance(self) -> float:
        """Share of the candidates that were accepted."""
        return self.accepted / self.candidates if self.candidates else 0.0

    def top_reasons(self, count: int = 3) -> str:
        """Name what most rows and requests were lost to, with numbers."""
        reasons = Counter(self.refused)
        reasons.update({f"unreadable: {reason}": number for reason, number in self.unreadable.items()})
        reasons.update({f"request failed: {message}": number for message, number in self.failures.items()})
        if refused := self.proposals - self.proposals_accepted:
            reasons["instruction refused before it was worked out"] = refused
        return ", ".join(f"{reason} ({number})" for reason, number in reasons.most_common(count)) or "nothing came back"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run went."""

    ended: Ended
    message: str
    counters: Counters
    unfinished: int
    """Requests that were in flight when the grace time was over: stored as asked, paid, and without an answer."""
