"""Who answers: the student with its adapter, or anything that behaves like it."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from seedbed.core.config import TrainingConfig
from seedbed.prompts.library import PromptLibrary
from seedbed.prompts.training_text import Form

if TYPE_CHECKING:
    from seedbed.trainer.generate import LocalModel


@dataclass(frozen=True, slots=True)
class Question:
    """What is put to a model, and in which form."""

    form: Form
    instruction: str
    input: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What it wrote."""

    text: str
    ended: bool
    """By itself, not at the limit."""
    tokens: int


class Answerer(Protocol):
    """A base model with an adapter that can be switched off. Answers are greedy."""

    @property
    def has_chat_template(self) -> bool: ...

    def base(self) -> AbstractContextManager[None]:
        """Switch the adapter off within the block."""
        ...

    def answer(self, questions: Sequence[Question], *, max_new_tokens: int, batch_rows: int) -> list[Answered]:
        """Answer each question, in the order given."""
        ...


class LocalAnswerer:
    """The student in this process's memory, through the trainer's `LocalModel`."""

    def __init__(self, model: "LocalModel") -> None:
        self._model = model

    @classmethod
    def load(cls, folder: Path, adapter: Path, config: TrainingConfig, prompts: PromptLibrary) -> "LocalAnswerer":
        """Load a Hugging Face folder and the adapter on it."""
        from seedbed.trainer.generate import LocalModel

        return cls(
            LocalModel(
                folder,
                adapter=adapter,
                dtype=config.dtype,
                device=config.device,
                threads=config.threads,
                prompts=prompts,
            )
        )

    @property
    def has_chat_template(self) -> bool:
        return self._model.has_chat_template

    @contextmanager
    def base(self) -> Iterator[None]:
        with self._model.base():
            yield

    def answer(self, questions: Sequence[Question], *, max_new_tokens: int, batch_rows: int) -> list[Answered]:
        from seedbed.trainer.generate import Prompted

        prompts = [Prompted(question.form, question.instruction, question.input) for question in questions]
        answers = self._model.answer(prompts, max_new_tokens=max_new_tokens, batch_rows=batch_rows)
        return [Answered(answer.text, answer.ended, answer.tokens) for answer in answers]
