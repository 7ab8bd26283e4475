"""A forced collapse: one seed, temperature 0, and a teacher that repeats variants; and its end."""

import itertools
import json
from pathlib import Path
from random import Random

import anyio
import pytest
from fastapi.testclient import TestClient

from seedbed.core.config import GenerationConfig, PoolConfig
from seedbed.core.diversity import Collapse, DiversityConfig
from seedbed.core.events import Event, Events
from seedbed.core.records import Candidate, Decision, Lineage, Request, SeedTask, Subject, Verdict
from seedbed.endpoints import vocabulary
from seedbed.generator.plan import Plan
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from seedbed.prompts.library import PromptLibrary
from seedbed.seeds.load import Categories, Category
from seedbed.service.alarms import Alarms
from seedbed.service.api import build_app
from seedbed.service.diversity import KEPT_ROWS, DiversityWatch, written_lately
from tests.generator.parts import Workbench, counting_ids

BOUNDS = DiversityConfig(window=40)
SETTINGS = GenerationConfig(temperature=0.0, recipes={"alpaca": 1.0}, concurrency=4, verify_category="off")
SEED = SeedTask(id="one", category="writing", instruction="Write a poem about rain.", output="Drip, drop.")


class Stage(Workbench):
    """The workbench of the engine, over a real pool: what was asked, and what was decided, is looked at after each."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(self.write)
        self.pool, self.events, self.seen = pool, Events(), list[Event]()
        self.events.add(self.seen.append)
        self.alarms = Alarms(self.events)
        self.is_collapsed = True
        self.asked_at: list[float] = []
        self.numbers = itertools.count()
        self.plan = Plan(
            categories=Categories((Category("writing", 1.0, is_held_out=False, description="Write."),)),
            seeds=[SEED],
            settings=SETTINGS,
            prompts=PromptLibrary(),
            use_json_schema=True,
            new_id=counting_ids(),
            events=self.events,
        )
        self.watch = DiversityWatch(self.alarms, BOUNDS, self.plan.react)

    def write(self, request: Request) -> str:
        self.asked_at.append(request.sampling.temperature)
        rng = Random(next(self.numbers))
        tasks = [
            {
                "topic": "rain",
                "instruction": f"Write a poem about rain number {next(self.numbers)}."
                if self.is_collapsed
                else vocabulary.instruction(rng),
                "input": "",
                "output": "Drip.",
            }
            for _ in range(3)
        ]
        return json.dumps({"tasks": tasks})

    async def decide(self, candidates: list[Candidate]) -> list[Decision]:  # type: ignore[override]
        decisions = []
        for candidate in candidates:
            is_new = "rain" not in candidate.instruction
            verdict = Verdict(
                filter="rouge",
                accepted=is_new,
                reason="" if is_new else "near_duplicate",
                score=None if is_new else 0.9,
            )
            decision = Decision(
                subject=Subject.CANDIDATE,
                subject_id=candidate.id,
                sequence=0,
                accepted=is_new,
                verdicts=(verdict,),
                decided_at=0.0,
            )
            self.pool.commit([Decided(candidate, decision)])
            decisions.append(decision)
        self.watch.look(written_lately(self.pool, BOUNDS))
        return decisions


def test_a_forced_collapse_raises_the_alarm_changes_the_plan_and_is_taken_back(tmp_path: Path) -> None:
    with Pool.open(tmp_path, PoolConfig()) as pool:
        stage = Stage(pool)

        async def run(until: int) -> None:
            engine = stage.engine(SETTINGS, plan=stage.plan, events=stage.events)
            await engine.run(lambda: engine.counters.candidates >= until)

        anyio.run(run, 60)
        assert "repeated wording" in " ".join(stage.alarms.standing)
        assert "few verbs" in " ".join(stage.alarms.standing)
        causes = {one.cause for one in stage.plan.reactions}
        assert {Collapse.REPEATED_WORDING, Collapse.FEW_VERBS} <= causes
        assert stage.asked_at[0] == 0.0
        anyio.run(run, 12)  # whatever is asked from now on is asked otherwise
        assert stage.asked_at[-1] == pytest.approx(0.7)
        recipes = {stage.plan.next().recipe for _ in range(60)}
        assert recipes == {"alpaca", "self_instruct"}
        assignment = stage.plan.next()
        assert assignment.settings.machine_demonstrations == 0
        assert assignment.settings.human_demonstrations == 8
        told = [event for event in stage.seen if event.kind == "diversity.reacted"]
        assert {str(event.fields["cause"]) for event in told} == {cause.value for cause in causes}
        assert all(event.fields["reason"] and event.fields["changes"] for event in told)

        stage.is_collapsed = False
        rows = [
            Candidate.of(
                vocabulary.instruction(Random(at)),
                "",
                f"Yes {at}.",
                lineage=Lineage(recipe="alpaca"),
                requested_category="writing",
            )
            for at in range(80)
        ]
        anyio.run(stage.decide, rows)
        assert stage.alarms.standing == ()
        assert stage.plan.reactions == ()
        assert stage.plan.next().settings == SETTINGS
        assert {str(event.fields["cause"]) for event in stage.seen if event.kind == "diversity.recovered"} >= {
            cause.value for cause in causes
        }


def test_rows_with_long_lineages_are_not_shown_while_lineages_are_too_deep() -> None:
    deep = [
        Candidate.of(
            f"Row {at}.", "", "Yes.", lineage=Lineage(recipe="alpaca", depth=depth), requested_category="writing"
        )
        for at, depth in enumerate([1, 2, 3, 9] * 10)
    ]
    plan = Plan(
        categories=Categories((Category("writing", 1.0, is_held_out=False, description="Write."),)),
        seeds=[SEED],
        settings=GenerationConfig(recipes={"self_instruct": 1.0}),
        prompts=PromptLibrary(),
        use_json_schema=True,
        sample_accepted=lambda *_: deep,
        new_id=counting_ids(),
    )

    def depths() -> set[int]:
        return {shown.depth for _ in range(60) for shown in plan.next().demonstrations}

    assert 9 in depths()
    plan.react({Collapse.DEEP_LINEAGE: "5.0 generations"})
    assert depths() == {0, 1, 2}
    plan.react({})
    assert 9 in depths()


def test_too_few_rows_say_nothing(tmp_path: Path) -> None:
    with Pool.open(tmp_path, PoolConfig()) as pool:
        assert written_lately(pool, BOUNDS) is None


def test_the_api_tells_what_is_written_and_what_is_kept(tmp_path: Path) -> None:
    with Pool.open(tmp_path, PoolConfig()) as pool:
        stage = Stage(pool)
        stage.is_collapsed = False

        async def run() -> None:
            engine = stage.engine(SETTINGS, plan=stage.plan)
            await engine.run(lambda: engine.counters.candidates >= 120)

        anyio.run(run)
        app = build_app(lambda: None, lambda: "", "token", pool)  # type: ignore[arg-type, return-value]
        client = TestClient(app, base_url="http://127.0.0.1")
        answer = client.get("/v1/diversity", headers={"authorization": "Bearer token"}).json()
        accepted = pool.accepted_count()
        assert client.get("/v1/diversity").status_code == 401
    assert answer["kept"]["rows"] == min(accepted, KEPT_ROWS)
    assert answer["kept"]["acceptance"] == 1
    assert answer["written"]["rows"] >= 100
    assert answer["reactions"] == []
