"""What is asked next."""

import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.config import GenerationConfig
from seedbed.core.errors import ConfigError
from seedbed.core.events import Event, Events
from seedbed.core.records import Candidate, Lineage
from seedbed.generator.plan import SATURATION_WINDOW, Plan, ordered_id
from seedbed.generator.recipe import Assignment
from seedbed.prompts.library import PromptLibrary
from tests.generator.parts import CATEGORIES, make_plan

HELD_OUT = {f"secret-{number}" for number in range(10)}


def row(category: str, number: int, depth: int = 1) -> Candidate:
    lineage = Lineage(recipe="alpaca", depth=depth)
    return Candidate.of(f"Row {number} of {category}.", "", "Yes.", lineage=lineage, requested_category=category)


def work(plan: Plan, assignments: int, chance: dict[str, float], seed: int = 0) -> Counter[str]:
    """Run assignments of three rows each, each row accepted by its category's chance; return the accepted."""
    rng, accepted, number = Random(seed), Counter[str](), 0
    for _ in range(assignments):
        assignment = plan.next()
        won = 0
        for _ in range(3):
            number += 1
            is_accepted = rng.random() < chance[assignment.requested_category]
            plan.record(row(assignment.requested_category, number), is_accepted)
            won += is_accepted
        plan.finished(assignment, won)
        accepted[assignment.requested_category] += won
    return accepted


def test_accepted_rows_come_out_in_the_wanted_shares_though_categories_differ_in_acceptance() -> None:
    accepted = work(make_plan(), 600, {"writing": 0.9, "sorting": 0.3, "mixed": 0.5})
    total = sum(accepted.values())
    assert abs(accepted["writing"] / total - 0.5) < 0.02
    assert abs(accepted["sorting"] / total - 0.3) < 0.02
    assert abs(accepted["mixed"] / total - 0.2) < 0.02


def test_rows_already_in_the_pool_count() -> None:
    plan = make_plan(accepted={"writing": 1000, "sorting": 600})
    assert {plan.next().requested_category for _ in range(20)} == {"mixed"}


def test_assignments_in_flight_count_so_that_many_at_once_are_spread() -> None:
    plan = make_plan(GenerationConfig(recipes={"alpaca": 1.0}))
    asked = Counter(plan.next().requested_category for _ in range(100))
    assert abs(asked["writing"] - 50) <= 2
    assert abs(asked["sorting"] - 30) <= 2


def test_the_rows_expected_in_flight_follow_what_was_accepted() -> None:
    plan = make_plan(GenerationConfig(recipes={"alpaca": 1.0}, triples_per_request=3))
    work(plan, 200, {"writing": 1.0, "sorting": 1.0, "mixed": 1.0})
    assert plan.expected_in_flight == 0
    plan.next()
    assert plan.expected_in_flight == pytest.approx(3.0, abs=0.2)


def test_a_category_whose_rows_are_nearly_all_refused_is_left_out_and_told_of() -> None:
    events, seen = Events(), list[Event]()
    events.add(seen.append)
    plan = make_plan(events=events)
    work(plan, 600, {"writing": 0.8, "sorting": 0.0, "mixed": 0.8})
    assert plan.saturated == ("sorting",)
    assert [(event.kind, event.fields["category"]) for event in seen] == [("category.saturated", "sorting")]
    assert "sorting" not in {plan.next().requested_category for _ in range(100)}


def test_refused_proposals_and_unreadable_pieces_saturate_a_category_too() -> None:
    plan = make_plan()
    plan.record_refusals("mixed", SATURATION_WINDOW - 1)
    assert not plan.saturated
    plan.record_refusals("mixed", 1)
    assert plan.saturated == ("mixed",)


def test_where_all_categories_are_saturated_asking_goes_on_until_someone_stops_it() -> None:
    plan = make_plan()
    for name in ("writing", "sorting", "mixed"):
        plan.record_refusals(name, SATURATION_WINDOW)
    assert {plan.next().requested_category for _ in range(50)} == {"writing", "sorting", "mixed"}


@given(seed=st.integers(), machine=st.integers(0, 4), human=st.integers(1, 8))
def test_held_out_categories_are_never_asked_for_and_never_shown(seed: int, machine: int, human: int) -> None:
    settings = GenerationConfig(seed=seed, machine_demonstrations=machine, human_demonstrations=human)
    plan = make_plan(settings)
    for number in range(30):
        plan.record(row("secret", number), True)
        assignment = plan.next()
        shown = {one.id for one in (*assignment.demonstrations, *assignment.label_examples)}
        assert assignment.requested_category != "secret"
        assert not shown & HELD_OUT
        assert not any("of secret" in one.instruction for one in assignment.demonstrations)


def test_a_proposal_shows_seeds_and_accepted_rows_of_its_category() -> None:
    def sample(count: int, category: str, rng: Random) -> Sequence[Candidate]:
        return [row(category, number, depth=3) for number in range(5)]

    plan = make_plan(GenerationConfig(recipes={"self_instruct": 1.0}), sample_accepted=sample)
    for _ in range(20):
        assignment = plan.next()
        from_pool = [shown for shown in assignment.demonstrations if shown.depth == 3]
        from_seeds = [shown for shown in assignment.demonstrations if shown.depth == 0]
        assert (len(from_seeds), len(from_pool)) == (6, 2)
        assert all(shown.id.startswith(assignment.requested_category) for shown in from_seeds)


def test_rows_accepted_in_this_run_are_shown_and_forgotten_ones_no_more() -> None:
    settings = GenerationConfig(recipes={"self_instruct": 1.0}, human_demonstrations=0, machine_demonstrations=1)
    plan = make_plan(settings)
    accepted = row("writing", 1)
    plan.record(accepted, True)
    assert accepted.id in shown_in(plan, "writing")
    plan.forget(accepted.id)
    assert accepted.id not in shown_in(plan, "writing")


def test_recipes_are_chosen_by_weight() -> None:
    plan = make_plan(GenerationConfig(recipes={"alpaca": 3.0, "self_instruct": 1.0}))
    chosen = Counter(plan.next().recipe for _ in range(2000))
    assert abs(chosen["alpaca"] - 1500) < 100


def test_a_resumed_plan_does_not_begin_with_the_same_assignments() -> None:
    first, again, resumed = make_plan(), make_plan(), make_plan(first_number=3)
    one, same, other = ([summary(plan.next()) for _ in range(3)] for plan in (first, again, resumed))
    assert one == same
    assert one != other


def test_each_subject_is_dealt_once_before_any_is_dealt_twice() -> None:
    plan = make_plan(GenerationConfig(recipes={"self_instruct": 1.0}, proposals_per_request=8))
    dealt = [topic for _ in range(40) for topic in plan.next().topics]
    assert len(set(dealt)) == len(dealt) == 320


def test_the_kind_of_a_category_is_known_only_where_its_seeds_agree() -> None:
    plan = make_plan()
    kinds = {(one.requested_category, one.is_classification) for one in (plan.next() for _ in range(50))}
    assert kinds == {("writing", False), ("sorting", True), ("mixed", None)}


def test_label_examples_are_of_both_kinds() -> None:
    kinds = Counter(shown.is_classification for shown in make_plan().next().label_examples)
    assert kinds == {True: 5, False: 5}


def test_categories_without_seeds_cannot_be_planned() -> None:
    only_secret = type(CATEGORIES)(CATEGORIES.held_out)
    with pytest.raises(ConfigError, match="no category with a share above 0 has a seed task"):
        make_plan(categories=only_secret)


def test_an_empty_list_of_subjects_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "generation").mkdir()
    (tmp_path / "generation" / "topics.j2").write_text("\n \n")
    with pytest.raises(ConfigError, match="generation/topics is empty"):
        make_plan(prompts=PromptLibrary(tmp_path))


def test_recipes_without_a_weight_cannot_be_planned() -> None:
    with pytest.raises(ConfigError, match="gives no recipe a weight above 0"):
        make_plan(GenerationConfig(recipes={"alpaca": 0.0}))


def shown_in(plan: Plan, category: str) -> set[str]:
    assignments = [plan.next() for _ in range(30)]
    return {shown.id for one in assignments if one.requested_category == category for shown in one.demonstrations}


def summary(assignment: Assignment) -> tuple[object, ...]:
    return (
        assignment.recipe,
        assignment.requested_category,
        assignment.topics,
        tuple(shown.id for shown in assignment.demonstrations),
    )


def test_ids_sort_by_time_and_are_uuids_of_version_7() -> None:
    before = time.time_ns() // 1_000_000
    ids = [ordered_id() for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert len(set(ids)) == 1000
    found = [uuid.UUID(hex=one) for one in ids]
    assert {(one.version, one.variant) for one in found} == {(7, uuid.RFC_4122)}
    times = [one.int >> 80 for one in found]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= after
