"""Whatever is done in whatever order, the pool holds what a plain model of it holds."""

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from seedbed.core.config import PoolConfig
from seedbed.core.records import Candidate, Decider, Decision, Lineage, Subject, Verdict
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from tests.postgres import PostgresServer

TEXTS = st.sampled_from([f"text {number}" for number in range(12)])
CONFIG = PoolConfig(first_target=2, step=3)


def decided(text: str, accepted: bool, sequence: int) -> Decided:
    candidate = Candidate.of(text, "", "out", lineage=Lineage(recipe="alpaca"), requested_category=text[-1])
    verdict = Verdict(filter="rouge", accepted=accepted, reason="" if accepted else "near_duplicate")
    by = Decider.PERSON if sequence else Decider.CASCADE
    decision = Decision(
        subject=Subject.CANDIDATE,
        subject_id=candidate.id,
        sequence=sequence,
        accepted=accepted,
        verdicts=(verdict,),
        by=by,
        decided_at=0.0,
    )
    return Decided(candidate, decision)


class PoolMachine(RuleBasedStateMachine):
    """Decides, reverses and reopens; `model` is what must hold."""

    def configured(self) -> PoolConfig:
        """Return the settings of a new pool."""
        return CONFIG

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.config = self.configured()
        self.pool = Pool.open(Path(self.folder.name), self.config)
        self.model: dict[str, list[bool]] = {}
        self.occurrences = 0
        self.most_accepted = 0

    @rule(batch=st.lists(st.tuples(TEXTS, st.booleans()), min_size=1, max_size=5))
    def decide(self, batch: list[tuple[str, bool]]) -> None:
        committed = self.pool.commit([decided(text, accepted, 0) for text, accepted in batch])
        known = 0
        for text, accepted in batch:
            if text in self.model:
                known += 1
            else:
                self.model[text] = [accepted]
        self.occurrences += known
        assert len(committed.already_known) == known
        self._expect_runs(len(committed.runs))

    @rule(text=TEXTS, accepted=st.booleans())
    def reverse(self, text: str, accepted: bool) -> None:
        if text in self.model:
            committed = self.pool.commit([decided(text, accepted, len(self.model[text]))])
            self.model[text].append(accepted)
            self._expect_runs(len(committed.runs))

    @rule()
    def reopen(self) -> None:
        self.pool.close()
        self.pool = Pool.open(Path(self.folder.name), self.config)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "pool"):
            return
        standing = {text: answers[-1] for text, answers in self.model.items()}
        # A dict keeps insertion order, which is the order the pool promises.
        assert [candidate.instruction for candidate in self.pool.accepted()] == [
            text for text, accepted in standing.items() if accepted
        ]
        counts = self.pool.counts()
        assert counts.decided == len(standing)
        assert counts.accepted == sum(standing.values())
        assert sum(counts.refused.values()) == len(standing) - sum(standing.values())
        assert counts.categories == Counter(text[-1] for text, accepted in standing.items() if accepted)
        assert counts.occurrences == self.occurrences
        for text, answers in self.model.items():
            identity = decided(text, True, 0).subject.id
            assert [decision.accepted for decision in self.pool.decisions(identity)] == answers

    def teardown(self) -> None:
        if hasattr(self, "pool"):
            assert check(self.pool) == []
            self.pool.close()
            self.folder.cleanup()

    def _expect_runs(self, fired: int) -> None:
        accepted = sum(answers[-1] for answers in self.model.values())
        before = _rounds_of(self.most_accepted)
        self.most_accepted = max(self.most_accepted, accepted)
        assert fired == _rounds_of(self.most_accepted) - before


def _rounds_of(accepted: int) -> int:
    return len([threshold for threshold in range(2, 100, 3) if threshold <= accepted])


TestPool: Callable[..., object] = PoolMachine.TestCase
PoolMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


@pytest.mark.real
def test_a_pool_on_a_server_holds_what_the_model_holds(postgres_server: PostgresServer) -> None:
    class OnServer(PoolMachine):
        def configured(self) -> PoolConfig:
            return CONFIG.model_copy(update={"url": postgres_server.new_database()})

    run_state_machine_as_test(OnServer, settings=PoolMachine.TestCase.settings)
