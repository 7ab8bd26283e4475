"""The answers on disk, as they come: an evaluation that is cut off goes on where it was."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from seedbed.core.files import BadLine, read_json_lines, write_atomic
from seedbed.core.records import Record
from seedbed.evaluation.answering import Answered


class AnswerLine(Record):
    """One line of `answers.jsonl`."""

    key: str
    """Hash of the model, the question and the limit, so an answer is used again only for the very same."""
    arm: str
    id: str
    """Of the row."""
    part: str
    """`held_out`, `safety` or `trained`."""
    form: str = ""
    """Empty where nothing was generated."""
    instruction: str
    input: str
    answer: str
    ended: bool | None = None
    """None where nothing was generated."""
    tokens: int = 0
    references: tuple[str, ...] = ()
    exact_match: float | None = None
    rouge_l: float | None = None
    score: float | None = None
    """None for safety rows."""


class AnswerBook:
    """`answers.jsonl`: appended to and synced batch by batch, read again on the next start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Answered] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._read()

    def known(self, key: str) -> Answered | None:
        """Return the answer to a question that was put before."""
        return self._known.get(key)

    def add(self, lines: Sequence[AnswerLine]) -> None:
        """Append answers; they are on disk when this returns."""
        with self._path.open("ab") as stream:
            stream.writelines(_encoded(line) for line in lines)
            stream.flush()
            os.fsync(stream.fileno())
        self._remember(lines)

    def finish(self, lines: Sequence[AnswerLine]) -> None:
        """Replace the file by these lines: every answer of every arm, in order, scored."""
        write_atomic(self._path, b"".join(map(_encoded, lines)))

    def _read(self) -> None:
        """Read what is there; a line that a crash cut short is dropped, also from the file."""
        lines, is_whole = [], True
        for line in read_json_lines(self._path):
            try:
                if isinstance(line, BadLine):
                    is_whole = False
                else:
                    lines.append(AnswerLine.model_validate(line.value))
            except ValidationError:
                is_whole = False
        if not is_whole:
            self.finish(lines)
        self._remember(lines)

    def _remember(self, lines: Iterable[AnswerLine]) -> None:
        for line in lines:
            if line.ended is not None:
                self._known[line.key] = Answered(line.answer, line.ended, line.tokens)


def _encoded(line: AnswerLine) -> bytes:
    return line.model_dump_json().encode() + b"\n"
