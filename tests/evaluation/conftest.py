"""A scripted model and the things an evaluation needs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from seedbed.core.config import EvaluationConfig, PoolConfig, TrainingConfig, TrainingTemplate
from seedbed.core.records import Candidate, Decision, Lineage, Subject
from seedbed.evaluation.answering import Answered, Question
from seedbed.evaluation.spec import EvaluationSpec
from seedbed.evaluation.tasks import HeldOutTask, SafetyTask
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from seedbed.pool.snapshot import freeze


class ScriptedAnswerer:
    """Answers by a function of (is the adapter on, question); remembers what it was asked."""

    def __init__(self, answer: Callable[[bool, Question], str], *, has_chat_template: bool = True) -> None:
        self._answer, self._has_chat_template = answer, has_chat_template
        self.is_adapter_on = True
        self.asked: list[tuple[bool, Question]] = []
        self.batches: list[int] = []

    @property
    def has_chat_template(self) -> bool:
        return self._has_chat_template

    @contextmanager
    def base(self) -> Iterator[None]:
        self.is_adapter_on = False
        try:
            yield
        finally:
            self.is_adapter_on = True

    def answer(self, questions: Sequence[Question], *, max_new_tokens: int, batch_rows: int) -> list[Answered]:
        self.batches.append(len(questions))
        self.asked += [(self.is_adapter_on, question) for question in questions]
        texts = [self._answer(self.is_adapter_on, question) for question in questions]
        return [Answered(text, len(text) < max_new_tokens, len(text)) for text in texts]


@pytest.fixture(name="scripted")
def _scripted() -> type[ScriptedAnswerer]:
    return ScriptedAnswerer


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A snapshot of 20 rows over two trained categories."""
    with Pool.open(tmp_path / "workspace", PoolConfig()) as pool:
        items = []
        for number in range(20):
            category = "extraction" if number % 2 else "open_qa"
            candidate = Candidate.of(
                f"Trained {number}", "", f"answer {number}", lineage=Lineage(recipe="alpaca"), category=category
            )
            decision = Decision(
                subject=Subject.CANDIDATE,
                subject_id=candidate.id,
                sequence=0,
                accepted=True,
                verdicts=(),
                decided_at=0.0,
            )
            items.append(Decided(candidate, decision))
        pool.commit(items)
        frozen = freeze(pool, tmp_path / "snapshots", round=0, validation_share=0.4)
    return tmp_path / "snapshots" / frozen.id


@pytest.fixture
def spec(snapshot: Path, tmp_path: Path) -> EvaluationSpec:
    """Eight labels and four sentences over two categories, four safety rows."""
    labels = [
        HeldOutTask(
            id=f"label {number}",
            task=f"task {number % 4}",
            category="closed_qa",
            instruction="Yes or no?",
            input=f"Case {number}",
            references=("yes",),
            is_classification=True,
        )
        for number in range(8)
    ]
    sentences = [
        HeldOutTask(
            id=f"sentence {number}",
            task=f"sentence {number}",
            category="translation",
            instruction=f"Translate {number}",
            references=("the cat sat on the mat", "a cat was sitting there"),
        )
        for number in range(4)
    ]
    safety = [
        SafetyTask(id=f"safety {number}", instruction=f"Request {number}", is_harmful=number < 2) for number in range(4)
    ]
    return EvaluationSpec(
        adapter_id="round-0000",
        adapter=tmp_path / "adapter",
        snapshot=snapshot,
        student="tiny",
        tasks=(*labels, *sentences),
        safety=tuple(safety),
        training=TrainingConfig(template=TrainingTemplate.ALPACA),
        evaluation=EvaluationConfig(min_rows=12, batch_rows=4, max_new_tokens=60, bootstrap_draws=500),
    )
