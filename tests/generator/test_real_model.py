"""The recipes against the embedded server with the real 0.5B model."""

from pathlib import Path

import pytest

from seedbed.core.config import BudgetConfig, EndpointConfig, GenerationConfig, Secrets
from seedbed.core.events import Events
from seedbed.endpoints.opening import open_fleet
from seedbed.generator.guarded import look_alike_fault, refusal_fault, unanswerable_fault
from seedbed.generator.parse import Triple
from seedbed.generator.plan import Plan
from seedbed.generator.recipe import Brought
from seedbed.prompts.library import PromptLibrary
from seedbed.seeds.load import PACKAGED_CATEGORIES, PACKAGED_TASKS, load_categories, load_seed_tasks
from tests.generator.parts import Workbench, counting_ids

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("recipe", ["alpaca", "self_instruct"])
async def test_a_small_model_brings_rows_of_several_categories(recipe: str, tmp_path: Path) -> None:
    endpoint = EndpointConfig(name="local", managed="llama.cpp", model="qwen2.5-coder-0.5b", max_in_flight=8)
    settings = GenerationConfig(recipes={recipe: 1.0}, concurrency=4, proposals_per_request=3, max_tokens=400)
    categories = load_categories(PACKAGED_CATEGORIES)
    plan = Plan(
        categories=categories,
        seeds=load_seed_tasks(PACKAGED_TASKS, categories),
        settings=settings,
        prompts=PromptLibrary(),
        use_json_schema=True,
        new_id=counting_ids(),
    )
    bench = Workbench(lambda _: "")
    async with open_fleet(
        [endpoint],
        secrets=Secrets(),
        budget=BudgetConfig(),
        max_attempts=2,
        log_folder=tmp_path,
        events=Events(),
    ) as fleet:
        engine = bench.engine(settings, plan=plan, ask=fleet.ask)
        outcome = await engine.run(lambda: len(bench.accepted) >= 6, lambda: 6 - len(bench.accepted))
    assert outcome.counters.accepted >= 6
    assert outcome.counters.failed == 0
    assert len({row.requested_category for row in bench.accepted}) >= 2
    assert outcome.counters.completion_tokens <= 250 * outcome.counters.accepted
    assert categories.held_out
    assert not {row.requested_category for row in bench.accepted} & {one.name for one in categories.held_out}


def refusal_fault_of_default(row: Triple) -> str:
    return refusal_fault(row, GenerationConfig().refusal.max_words)


@pytest.mark.parametrize("recipe", ["chain_of_thought", "evolve", "refusal", "unanswerable", "answer"])
async def test_a_small_model_brings_a_row_by_each_other_recipe(recipe: str, tmp_path: Path) -> None:
    endpoint = EndpointConfig(name="local", managed="llama.cpp", model="qwen2.5-coder-0.5b", max_in_flight=8)
    settings = GenerationConfig(
        recipes={recipe: 1.0}, concurrency=4, proposals_per_request=3, max_fruitless_requests=120
    )
    categories = load_categories(PACKAGED_CATEGORIES)
    kept = ("vegetables", "fruits", "drinks", "kinds of cheese", "herbs", "grains", "nuts", "sweets")
    brought = [Brought(f"Name three {one} that keep well in a cellar.", category="open_qa") for one in kept]
    plan = Plan(
        categories=categories,
        seeds=load_seed_tasks(PACKAGED_TASKS, categories),
        settings=settings,
        prompts=PromptLibrary(),
        use_json_schema=True,
        new_id=counting_ids(),
        brought=brought if recipe == "answer" else (),
    )
    bench = Workbench(lambda _: "")
    async with open_fleet(
        [endpoint], secrets=Secrets(), budget=BudgetConfig(), max_attempts=2, log_folder=tmp_path, events=Events()
    ) as fleet:
        engine = bench.engine(settings, plan=plan, ask=fleet.ask)
        outcome = await engine.run(lambda: bool(bench.accepted), lambda: 1)
    assert outcome.counters.failed == 0
    row = bench.accepted[0]
    assert row.instruction
    assert row.output
    assert row.lineage.recipe in ({"refusal", "look_alike"} if recipe == "refusal" else {recipe})
    if recipe == "chain_of_thought":
        assert row.output.splitlines()[-1].startswith("The answer is ")
    if recipe == "answer":
        assert row.instruction in {one.instruction for one in brought}
    if recipe == "evolve":
        assert row.lineage.demonstration_ids
    rules = {"unanswerable": unanswerable_fault, "look_alike": look_alike_fault, "refusal": refusal_fault_of_default}
    rule = rules.get(row.lineage.recipe)
    assert rule is None or rule(Triple(row.instruction, row.input, row.output)) == ""
