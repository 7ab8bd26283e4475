"""Putting an arm's questions to a model, each once, and keeping the answers as they come."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from seedbed.core.config import EvaluationConfig
from seedbed.core.text import content_id
from seedbed.evaluation.answering import Answered, Answerer, Question
from seedbed.evaluation.answers import AnswerBook, AnswerLine
from seedbed.evaluation.arms import Arm

PARTS = ("held_out", "safety", "trained")

Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Hashes:
    """Which weights answer; part of the name under which an answer is kept."""

    base_sha256: str
    adapter_sha256: str
    prompts: str = "{}"
    """Templates that are not the package's own, with their hashes, as JSON."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row that an arm answers."""

    part: str
    """One of `PARTS`."""
    id: str
    instruction: str
    input: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """What an arm answered on one part, in the order of its rows."""

    arm: str
    part: str
    rows: Sequence[Row]
    keys: Sequence[str]
    forms: Sequence[str]
    answers: Sequence[Answered]


def answered_sheets(
    arm: Arm,
    rows: Sequence[Row],
    answerer: Answerer,
    book: AnswerBook,
    *,
    hashes: Hashes,
    settings: EvaluationConfig,
    show: Show,
) -> list[Sheet]:
    """Have an arm's rows answered, as far as the book does not know the answers; a sheet for each part of them."""
    model: tuple[str, ...] = (
        hashes.base_sha256,
        hashes.adapter_sha256 if arm.uses_adapter else "",
        str(settings.max_new_tokens),
    )
    if hashes.prompts != "{}":
        model = (*model, hashes.prompts)
    questions = [Question(arm.form(row.id), row.instruction, row.input) for row in rows]
    keys = [content_id((*model, it.form, it.instruction, it.input)) for it in questions]
    pending = {key: number for number, key in enumerate(keys) if book.known(key) is None}
    # Rows of about one length in a batch waste little on padding.
    order = sorted(pending.values(), key=lambda number: len(rows[number].instruction) + len(rows[number].input))
    with nullcontext() if arm.uses_adapter else answerer.base():
        for start in range(0, len(order), settings.batch_rows):
            batch = order[start : start + settings.batch_rows]
            show(f"{arm.name}: {len(keys) - len(order) + start} of {len(keys)} rows answered")
            written = answerer.answer(
                [questions[number] for number in batch],
                max_new_tokens=settings.max_new_tokens,
                batch_rows=settings.batch_rows,
            )
            book.add(
                [
                    answer_line(arm.name, rows[number], keys[number], questions[number].form, answered)
                    for number, answered in zip(batch, written, strict=True)
                ]
            )
    show(f"{arm.name}: all {len(keys)} rows answered")
    return list(_sheets(arm.name, rows, keys, questions, book))


def _sheets(
    arm: str, rows: Sequence[Row], keys: Sequence[str], questions: Sequence[Question], book: AnswerBook
) -> Iterator[Sheet]:
    answers = [answer for key in keys if (answer := book.known(key)) is not None]
    assert len(answers) == len(rows)
    for part in PARTS:
        chosen = [number for number, row in enumerate(rows) if row.part == part]
        yield Sheet(
            arm,
            part,
            [rows[number] for number in chosen],
            [keys[number] for number in chosen],
            [questions[number].form for number in chosen],
            [answers[number] for number in chosen],
        )


def answer_line(arm: str, row: Row, key: str, form: str, answered: Answered) -> AnswerLine:
    """Return the line of an answer, without what it is worth."""
    return AnswerLine(
        key=key,
        arm=arm,
        id=row.id,
        part=row.part,
        form=form,
        instruction=row.instruction,
        input=row.input,
        answer=answered.text,
        ended=answered.ended,
        tokens=answered.tokens,
    )
