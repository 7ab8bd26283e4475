"""What a training and an evaluation wrote, for people who look on: the loss so far, log tails, answers side by side."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from seedbed.core.errors import MissingFileError
from seedbed.core.files import BadLine, read_json_lines
from seedbed.core.records import Record
from seedbed.evaluation.answers import AnswerLine
from seedbed.service.training import read_metrics

MAX_POINTS = 400
TAIL_BYTES = 20_000


class LossPoint(Record):
    """The numbers of one step."""

    step: int
    loss: float | None = None
    val_loss: float | None = None
    tokens_per_s: float | None = None


class SideBySide(Record):
    """One held-out question with the base's answer and the adapter's."""

    id: str
    part: str
    """`held_out` or `safety`."""
    instruction: str
    input: str
    references: tuple[str, ...]
    base: str | None
    """None where this arm has not answered yet."""
    adapter: str | None
    base_score: float | None
    adapter_score: float | None


def loss_points(folder: Path) -> list[LossPoint]:
    """Read a training's curve; of a long one evenly chosen steps, every validation loss and the last step.

    Empty where training has not begun.
    """
    try:
        lines = read_metrics(folder)
    except MissingFileError:
        return []
    points: dict[int, dict[str, float]] = {}
    for line in lines:
        for name in ("loss", "val_loss", "tokens_per_s"):
            if name in line and math.isfinite(line[name]):  # JSON has no word for the rest
                points.setdefault(int(line["step"]), {})[name] = line[name]
    every = -(-len(points) // MAX_POINTS) or 1
    last = max(points, default=0)
    return [
        LossPoint.model_validate({"step": step, **values})
        for number, (step, values) in enumerate(sorted(points.items()))
        if number % every == 0 or "val_loss" in values or step == last
    ]


def log_tail(path: Path) -> str:
    """Return the end of a log, from the beginning of a line; empty where there is none."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return text if size <= TAIL_BYTES else text.partition("\n")[2]


def answers_side_by_side(path: Path) -> Iterator[SideBySide]:
    """Yield held-out and safety rows in their order, each with what base and adapter answered."""
    rows: dict[tuple[str, str], dict[str, AnswerLine]] = {}
    for line in _answer_lines(path):
        if line.arm in {"base", "adapter"} and line.part in {"held_out", "safety"}:
            rows.setdefault((line.part, line.id), {})[line.arm] = line
    for (part, identity), arms in rows.items():
        one = next(iter(arms.values()))
        base, adapter = arms.get("base"), arms.get("adapter")
        yield SideBySide(
            id=identity,
            part=part,
            instruction=one.instruction,
            input=one.input,
            references=one.references,
            base=base.answer if base else None,
            adapter=adapter.answer if adapter else None,
            base_score=base.score if base else None,
            adapter_score=adapter.score if adapter else None,
        )


def _answer_lines(path: Path) -> Iterable[AnswerLine]:
    if not path.exists():
        return
    for line in read_json_lines(path):
        if isinstance(line, BadLine):
            continue  # it is being written
        try:
            yield AnswerLine.model_validate(line.value)
        except ValidationError:
            continue
