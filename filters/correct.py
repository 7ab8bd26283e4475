"""Refuses rows whose answer was checked and found wrong."""

from seedbed.core.records import CHECK_PREFIX, Candidate, Verdict
from seedbed.filters.protocol import accept, refuse

NAME = "correct"


class CorrectFilter:
    """Looks at what checks before it stored on the candidate; a row that nothing could check passes."""

    name = NAME

    def check(self, candidate: Candidate) -> Verdict:
        if not candidate.grades:
            return _NOTHING_CHECKED
        checks = {name: grade for name, grade in candidate.grades.items() if name.startswith(CHECK_PREFIX)}
        wrong = sorted(name for name, grade in checks.items() if grade < 1)
        if wrong:
            reason = f"wrong_{wrong[0].removeprefix(CHECK_PREFIX)}"
            return refuse(NAME, reason, score=checks[wrong[0]], threshold=1.0, evidence=tuple(wrong))
        return accept(NAME, score=1.0 if checks else None)


_NOTHING_CHECKED = accept(NAME)
