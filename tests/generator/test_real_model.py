"""The recipes against the embedded server with the real 0.5B model."""

from pathlib import Path

import pytest

from seedbed.core.config import BudgetConfig, EndpointConfig, GenerationConfig, Secrets
from seedbed.core.events import Events
from seedbed.endpoints.opening import open_fleet
from seedbed.generator.plan import Plan
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
