"""A snapshot is whole or not there, and equal rows make an equal one."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.core.config import PoolConfig
from seedbed.core.errors import LeakError, SnapshotError
from seedbed.core.records import Candidate, Decider, Decision, Example, Lineage, Subject
from seedbed.core.snapshots import read_examples, read_snapshot
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from seedbed.pool.snapshot import freeze

Decide = Callable[..., Decided]


def test_a_snapshot_holds_the_accepted_rows_in_two_files(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide(str(number)) for number in range(50)] + [decide("bad", accepted=False)])
    snapshot = freeze(pool, tmp_path / "snapshots", round=2, validation_share=0.2, now=lambda: 7.0)
    folder = tmp_path / "snapshots" / snapshot.id
    assert read_snapshot(folder) == snapshot
    train, val = read_examples(folder, "train"), read_examples(folder, "val")
    assert (len(train), len(val)) == (snapshot.train_rows, snapshot.val_rows)
    assert sorted(row.instruction for row in train + val) == sorted(str(number) for number in range(50))
    assert val
    assert (snapshot.round, snapshot.created_at, snapshot.categories) == (2, 7.0, {"qa": 50})


def test_rows_of_one_task_stay_together(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide(f"{number}", task_id=f"task {number % 10}") for number in range(100)])
    snapshot = freeze(pool, tmp_path, round=0, validation_share=0.3)
    tasks = [{row.task_id for row in read_examples(tmp_path / snapshot.id, part)} for part in ("train", "val")]
    assert tasks[0] & tasks[1] == set()
    assert len(tasks[0] | tasks[1]) == 10


def test_a_task_keeps_its_side_as_the_pool_grows(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide(str(number)) for number in range(100)])
    first = freeze(pool, tmp_path, round=0)
    pool.commit([decide(str(number)) for number in range(100, 200)])
    second = freeze(pool, tmp_path, round=1)
    before = {row.task_id for row in read_examples(tmp_path / first.id, "val")}
    trained = {row.task_id for row in read_examples(tmp_path / second.id, "train")}
    assert before & trained == set()


@pytest.mark.parametrize(("tasks", "val_rows"), [(1, 0), (2, 1)])
def test_two_tasks_are_enough_for_a_validation_row(
    pool: Pool, tmp_path: Path, decide: Decide, tasks: int, val_rows: int
) -> None:
    pool.commit([decide(str(number)) for number in range(tasks)])
    for seed in range(20):
        snapshot = freeze(pool, tmp_path, round=0, seed=seed, validation_share=0.01)
        assert snapshot.val_rows == val_rows
        assert snapshot.train_rows == tasks - val_rows


def test_a_large_validation_share_leaves_something_to_train_on(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide("one"), decide("two")])
    for seed in range(20):
        assert freeze(pool, tmp_path, round=0, seed=seed, validation_share=0.499).train_rows == 1


def test_freezing_the_same_rows_again_returns_the_same_snapshot(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide(str(number)) for number in range(10)])
    first = freeze(pool, tmp_path, round=0, now=lambda: 1.0)
    assert freeze(pool, tmp_path, round=0, now=lambda: 2.0) == first
    pool.commit([decide("one more")])
    assert freeze(pool, tmp_path, round=0).id != first.id


def test_another_split_is_another_snapshot(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide(str(number)) for number in range(40)])
    assert freeze(pool, tmp_path, round=0, seed=0).id != freeze(pool, tmp_path, round=0, seed=1).id


def test_the_limit_takes_the_first_accepted_rows(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide(str(number), accepted=number % 2 == 0) for number in range(20)])
    snapshot = freeze(pool, tmp_path, round=0, limit=5)
    rows = read_examples(tmp_path / snapshot.id, "train") + read_examples(tmp_path / snapshot.id, "val")
    assert {row.instruction for row in rows} == {"0", "2", "4", "6", "8"}


def test_no_row_of_a_held_out_category_gets_in(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit(
        [
            decide("asked as qa"),
            decide("asked as coding", category="coding"),
            decide("turned out coding", verified="coding"),
            decide("turned out qa", category="coding", verified="qa"),
        ]
    )
    snapshot = freeze(pool, tmp_path, round=0, held_out=["coding"])
    assert snapshot.categories == {"qa": 2}
    assert snapshot.held_out_categories == ("coding",)


def test_a_row_that_was_taken_out_later_is_not_in_it(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide("one"), decide("two"), decide("three")])
    pool.commit([decide("two", sequence=1, accepted=False, by=Decider.PERSON)])
    assert freeze(pool, tmp_path, round=0).train_rows == 1


def test_a_leak_stops_the_freeze_before_anything_is_written(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide("one"), decide("two")])

    def refuse(examples: object) -> None:
        raise LeakError("row 1 is a held-out task")

    with pytest.raises(LeakError):
        freeze(pool, tmp_path / "snapshots", round=0, check=refuse)
    assert not (tmp_path / "snapshots").exists()


def test_the_leak_check_sees_every_row(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide("one"), decide("two")])
    seen: list[Example] = []
    freeze(pool, tmp_path, round=0, check=seen.extend)
    assert {example.instruction for example in seen} == {"one", "two"}


def test_what_a_crash_left_is_replaced(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide(str(number)) for number in range(10)])
    snapshot = freeze(pool, tmp_path, round=0, now=lambda: 1.0)
    folder = tmp_path / snapshot.id
    (folder / "manifest.json").unlink()
    (folder / "train.jsonl").write_text('{"half a')
    (folder / ".val.jsonl.x.part").write_text("rest")
    assert freeze(pool, tmp_path, round=0, now=lambda: 1.0) == snapshot
    assert sorted(file.name for file in folder.iterdir()) == ["manifest.json", "train.jsonl", "val.jsonl"]


def test_a_snapshot_that_was_changed_is_told(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide(str(number)) for number in range(10)])
    snapshot = freeze(pool, tmp_path / "snapshots", round=0)
    assert check(pool, tmp_path / "snapshots") == []
    train = tmp_path / "snapshots" / snapshot.id / "train.jsonl"
    lines = train.read_text().splitlines()
    train.write_text("\n".join([json.dumps({**json.loads(lines[0]), "output": "other"}), *lines[1:]]) + "\n")
    assert len(check(pool, tmp_path / "snapshots")) == 1
    with pytest.raises(SnapshotError, match="was changed after the snapshot was frozen"):
        freeze(pool, tmp_path / "snapshots", round=0)


def test_an_empty_pool_has_nothing_to_freeze(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="nothing to freeze"):
        freeze(pool, tmp_path, round=0)


@settings(deadline=None, max_examples=30)
@given(shares=st.floats(0.05, 0.45), seed=st.integers(0, 10))
def test_the_validation_share_is_about_what_was_asked(shares: float, seed: int, split_pool: Pool) -> None:
    folder = Path(split_pool.path).parent / "snapshots"
    snapshot = freeze(split_pool, folder, round=0, validation_share=shares, seed=seed)
    # 400 tasks: six standard deviations of a binomial share are at most 0.15.
    assert abs(snapshot.val_rows / 400 - shares) < 0.15


@pytest.fixture(scope="module")
def split_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """A pool of 400 accepted rows, each a task of its own."""
    items = []
    for number in range(400):
        candidate = Candidate.of(str(number), "", "x", lineage=Lineage(recipe="alpaca"))
        decision = Decision(
            subject=Subject.CANDIDATE, subject_id=candidate.id, sequence=0, accepted=True, verdicts=(), decided_at=0.0
        )
        items.append(Decided(candidate, decision))
    with Pool.open(tmp_path_factory.mktemp("pool"), PoolConfig()) as opened:
        opened.commit(items)
        yield opened
