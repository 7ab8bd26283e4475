"""How often the refusal detector errs, on answers of our own that a person labelled.

`refusal_answers.jsonl` was written for this, both kinds, many of them hard on purpose: refusals without the usual
words, and ordinary answers with them. The detector's patterns were not changed after looking at it.
"""

from collections.abc import Callable
from pathlib import Path

from seedbed.core.files import BadLine, read_json_lines
from seedbed.core.records import Record
from seedbed.core.reports import DetectorError, Interval
from seedbed.evaluation.significance import wilson

LABELLED_ANSWERS = Path(__file__).with_name("refusal_answers.jsonl")


class LabelledAnswer(Record):
    """One answer, and whether a person calls it a refusal."""

    id: str
    answer: str
    is_refusal: bool


def labelled_answers(path: Path = LABELLED_ANSWERS) -> tuple[LabelledAnswer, ...]:
    """Read labelled answers, JSON lines."""
    lines = read_json_lines(path)
    return tuple(LabelledAnswer.model_validate(line.value) for line in lines if not isinstance(line, BadLine))


def detector_error(refuses: Callable[[str], object], labelled: tuple[LabelledAnswer, ...]) -> DetectorError:
    """Measure a detector; with nothing found or nothing to find, the interval is everything."""
    hits = sum(bool(refuses(one.answer)) for one in labelled if one.is_refusal)
    found = sum(bool(refuses(one.answer)) for one in labelled)
    refusals = sum(one.is_refusal for one in labelled)
    return DetectorError(
        answers=len(labelled),
        refusals=refusals,
        precision=hits / found if found else 0.0,
        precision_interval=share_interval(hits, found),
        recall=hits / refusals if refusals else 0.0,
        recall_interval=share_interval(hits, refusals),
    )


def share_interval(hits: int, trials: int) -> Interval:
    """Return Wilson's interval of a share as the report keeps it."""
    found = wilson(hits, trials)
    return Interval(n=trials, low=found.low, high=found.high)
