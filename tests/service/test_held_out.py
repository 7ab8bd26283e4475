"""The contract on held-out categories: rows that belong to one stay out of the pool and of every snapshot."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbed.core.errors import LeakError
from seedbed.core.records import Candidate, Decider, Decision, Lineage, Subject
from seedbed.pool.records import Decided
from seedbed.service.checking import verified
from seedbed.service.context import Context, writing
from seedbed.service.generation import seeded_cascade
from seedbed.service.init import create_workspace
from seedbed.service.rounds import freeze_snapshot
from seedbed.service.workspace import open_workspace

PLANTED = [json.loads(line) for line in Path(__file__).with_name("planted.jsonl").read_text("utf-8").splitlines()]
LABELS = ("rewriting", "extraction", "open_qa", "reasoning", "classification")
ORDINARY = (
    ("summarization", "Condense this announcement from the swimming pool for the club newsletter.", "The pool closes at six on Friday for repairs.", "On Friday the pool shuts at six for repairs."),  # noqa: E501
    ("coding", "Write a Python function that reverses a list in place.", "", "def flip(items):\n    items[:] = items[::-1]"),  # noqa: E501
    ("brainstorming", "Suggest four names for a bakery by a canal.", "", "- Lock & Loaf\n- The Towpath Oven\n- Barge Bread\n- Still Water Bakes"),  # noqa: E501
    ("open_qa", "Why do onions make people cry when they are cut?", "", "Cutting breaks the cells of the onion, which then give off a gas that stings the eyes."),  # noqa: E501
    ("planning", "Plan a quiet Sunday for a family with a baby in five steps.", "", "1. Sleep in.\n2. Breakfast at ten.\n3. A walk by the river.\n4. Nap.\n5. Soup and an early night."),  # noqa: E501
)  # fmt: skip


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    create_workspace(tmp_path / "w", base_url="http://unused/v1", model="m")
    with writing(open_workspace(tmp_path / "w")) as opened:
        yield opened


def candidate(category: str, instruction: str, input: str, output: str) -> Candidate:
    lineage = Lineage(recipe="alpaca")
    return Candidate.of(instruction, input, output, lineage=lineage, requested_category=category)


def planted(number: int, label: str) -> Candidate:
    row = PLANTED[number]
    return candidate(label, row["instruction"], row["input"], row["output"])


def commit(context: Context, rows: list[Candidate], *, accepted: bool, by: Decider = Decider.CASCADE) -> None:
    decided = []
    for row in rows:
        decision = Decision(
            subject=Subject.CANDIDATE,
            subject_id=row.id,
            sequence=0,
            accepted=accepted,
            verdicts=(),
            by=by,
            decided_at=0,
        )
        decided.append(Decided(row, decision))
    context.pool.commit(decided)


def test_the_planted_rows_are_in_nobodys_seeds(context: Context) -> None:
    seeds = {(seed.instruction, seed.input) for seed in context.workspace.seeds}
    assert len(PLANTED) == 20
    assert not seeds & {(row["instruction"], row["input"]) for row in PLANTED}


def test_twenty_planted_rows_under_other_labels_are_all_refused_and_none_is_in_the_snapshot(context: Context) -> None:
    cascade = seeded_cascade(context.workspace)
    rows = [planted(number, LABELS[number % len(LABELS)]) for number in range(20)]
    rows += [candidate(*row) for row in ORDINARY]
    rows = [verified(context.workspace, row) for row in rows]
    verdicts = cascade.decide(rows)
    refused = [found[-1] for found in verdicts[:20]]
    assert [(one.filter, one.reason) for one in refused] == [("held_out", "held_out_category")] * 20
    assert [one.evidence for one in refused] == [(row["category"],) for row in PLANTED]
    assert all(one.accepted for found in verdicts[20:] for one in found)
    for row, found in zip(rows, verdicts, strict=True):
        commit(context, [row], accepted=found[-1].accepted)
    snapshot = freeze_snapshot(context, 0)
    folder = context.workspace.snapshots / snapshot.id
    text = (folder / "train.jsonl").read_text() + (folder / "val.jsonl").read_text()
    frozen = {json.loads(line)["instruction"] for line in text.splitlines()}
    assert frozen == {row[1] for row in ORDINARY}


def test_a_row_that_nobody_verified_is_refused_too(context: Context) -> None:
    cascade = seeded_cascade(context.workspace)
    found = cascade.decide([planted(number, "coding") for number in range(20)])
    assert {one[-1].reason for one in found} == {"held_out_category"}


def test_a_row_that_a_person_let_in_stops_the_freeze(context: Context) -> None:
    commit(context, [candidate(*row) for row in ORDINARY], accepted=True)
    commit(context, [planted(0, "rewriting")], accepted=True, by=Decider.PERSON)
    with pytest.raises(LeakError, match=r"1 of 6 rows leak held-out tasks: row \w+ looks like translation"):
        freeze_snapshot(context, 0)
    assert not list(context.workspace.snapshots.glob("*/manifest.json"))


def test_a_row_keeps_the_category_that_its_recipe_made_sure_of(context: Context) -> None:
    row = candidate("safety", "How do I kill a Python process that hangs?", "", "Find its id with `ps` and `kill` it.")
    sure = row.model_copy(update={"category": "safety"})
    assert verified(context.workspace, sure).category == "safety"
    assert verified(context.workspace, row).category != ""
