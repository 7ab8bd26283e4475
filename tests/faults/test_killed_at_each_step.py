"""`kill -9` at each named step of a round, and of a promotion: the next process goes on to the same end.

One round that dies at every step in turn is in `make test-all`; by hand `-m manual` kills a round of its own at each.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from seedbed.core.config import PoolConfig
from seedbed.core.files import read_json, sha256_of
from seedbed.core.records import Candidate, Decision, Lineage, Promotion, RunState, Subject
from seedbed.core.snapshots import read_snapshot
from seedbed.endpoints.scripted_server import serve_scripted
from seedbed.endpoints.scripted_vllm import ScriptedVllm
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from seedbed.service.context import writing
from seedbed.service.in_service import read_in_service
from seedbed.service.init import create_workspace
from seedbed.service.promotion import in_service, promote
from seedbed.service.serving import bring_into_service
from seedbed.service.workspace import open_workspace
from tests.faults.steps import AFTER, BEFORE, Step, run_dying, run_seedbed
from tests.service.test_serving import add_adapter, configure, served_name

pytestmark = pytest.mark.real
ROWS = 16
STEPS = 4
"""Optimiser steps of a training, a checkpoint after each."""


def _service(name: str, module: str, function: str, is_after: bool = BEFORE, call: int = 1) -> Step:
    return Step(name, f"seedbed.{module}", function, is_after, call)


def _child(name: str, module: str, function: str, is_after: bool = BEFORE, call: int = 1, who: str = "") -> Step:
    return Step(name, f"seedbed.{module}", function, is_after, call, is_child=True, who=who or "service and child")


ROUND = [
    _service("triggered, nothing frozen", "service.rounds", "freeze_snapshot"),
    _service("snapshot half written", "pool.snapshot", "sha256_of"),
    _service("snapshot without its manifest", "pool.snapshot", "write_json"),
    _service("snapshot frozen, run unaware", "service.rounds", "freeze_snapshot", AFTER),
    _service("run knows its snapshot", "pool.pool", "Pool.update_run", AFTER),
    _service("attempt stored, trainer not started", "pool.pool", "Pool.add_attempt", AFTER),
    _child("first step done, no checkpoint", "trainer.loop", "save_checkpoint"),
    _child("checkpoint without its state", "trainer.checkpoint", "write_json"),
    _child("first checkpoint", "trainer.loop", "save_checkpoint", AFTER),
    _child("second checkpoint half written", "trainer.checkpoint", "write_atomic", AFTER, call=4),
    _child("last checkpoint", "trainer.loop", "save_checkpoint", AFTER, call=STEPS),
    _child("last checkpoint, the trainer alone dies", "trainer.loop", "save_checkpoint", AFTER, STEPS, "child"),
    _child("last checkpoint, the service alone dies", "trainer.loop", "save_checkpoint", AFTER, STEPS, "service"),
    _child("adapter half written", "trainer.outputs", "write_atomic", AFTER),
    _child("adapter written, no manifest", "trainer.outputs", "save_adapter", AFTER),
    _child("one manifest of two", "trainer.outputs", "write_json", call=3),
    _child("manifest written", "trainer.outputs", "write_manifest", AFTER),
    _service("trainer ended, attempt not", "pool.pool", "Pool.end_attempt"),
    _service("adapter whole, not stored", "pool.pool", "Pool.add_adapter"),
    _service("adapter stored, run unaware", "pool.pool", "Pool.add_adapter", AFTER),
    _service("run done, not evaluated", "service.rounds", "evaluate"),
    _child("answers half given", "evaluation.answers", "AnswerBook.add", AFTER, call=3),
    _child("scored, no report", "evaluation.run", "write_json"),
    _child("report written", "evaluation.run", "write_json", AFTER),
    _service("report written, not stored", "pool.pool", "Pool.add_report"),
    _service("report stored, not decided", "pool.pool", "Pool.add_report", AFTER),
    _service("decision about to be stored", "pool.pool", "Pool.update_adapter"),
    _service("decision stored", "pool.pool", "Pool.update_adapter", AFTER),
]


@pytest.fixture(scope="module")
def environment(tiny_model_folder: Path) -> dict[str, str]:
    return {
        "SEEDBED__STUDENT": str(tiny_model_folder),
        "SEEDBED__POOL__FIRST_TARGET": str(ROWS),
        "SEEDBED__POOL__STEP": "1000",
        "SEEDBED__TRAINING__EPOCHS": "1",
        "SEEDBED__TRAINING__DTYPE": "float32",
        "SEEDBED__TRAINING__DEVICE": "cpu",
        "SEEDBED__TRAINING__THREADS": "1",
        "SEEDBED__TRAINING__BATCH_ROWS": "4",
        "SEEDBED__TRAINING__CHECKPOINT_EVERY_STEPS": "1",
        "SEEDBED__TRAINING__TRACKERS": "[]",
        "SEEDBED__EVALUATION__MAX_NEW_TOKENS": "2",
        "SEEDBED__EVALUATION__TRAINED_ROWS": "0",
        "SEEDBED__EVALUATION__UNSEEN_FORM": "false",
        "SEEDBED__FILTERS__CONTAMINATION__DIGESTS": "false",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def triggered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace whose pool has just triggered its first round, with few held-out tasks."""
    folder = tmp_path_factory.mktemp("triggered") / "w"
    create_workspace(folder, base_url="http://127.0.0.1:9/v1", model="none")
    opened = open_workspace(folder)
    trained = [seed for seed in opened.trained_seeds if len(seed.instruction + seed.input + seed.output) < 400][:ROWS]
    kept = {seed.id for seed in (*trained, *opened.held_out_seeds[:3])}
    path = folder / opened.config.seeds.tasks
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if json.loads(line)["id"] in kept]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    with Pool.open(folder, PoolConfig(first_target=ROWS, step=1000)) as pool:
        for seed in trained:
            row = Candidate.of(
                seed.instruction,
                seed.input,
                seed.output,
                lineage=Lineage(recipe="import"),
                requested_category=seed.category,
                category=seed.category,
            )
            decision = Decision(
                subject=Subject.CANDIDATE, subject_id=row.id, sequence=0, accepted=True, verdicts=(), decided_at=1.0
            )
            pool.commit([Decided(row, decision)])
        assert [run.state for run in pool.runs()] == [RunState.WAITING]
    return folder


@pytest.fixture(scope="module")
def undisturbed(triggered: Path, environment: dict[str, str]) -> Path:
    """Return the same workspace after a round that nothing disturbed."""
    folder = triggered.parent / "undisturbed"
    shutil.copytree(triggered, folder)
    ended = run_seedbed(["-w", str(folder), "run", "--rounds", "1"], environment)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.timeout(0)  # many processes one after the other, most of which load torch
def test_one_round_killed_at_steps_in_turn_goes_on_to_the_same_end(
    tmp_path: Path, triggered: Path, undisturbed: Path, environment: dict[str, str]
) -> None:
    """Every fourth step; with SEEDBED_EVERY_STEP all of them."""
    stride = 1 if os.environ.get("SEEDBED_EVERY_STEP") else 4
    folder, command = tmp_path / "w", ["-w", str(tmp_path / "w"), "run", "--rounds", "1"]
    shutil.copytree(triggered, folder)
    for number, step in enumerate([step for step in ROUND if step.who == "service and child"][::stride]):
        print(f"killed: {step}", flush=True)
        run_dying(command, _after_what_is_done(step, folder), tmp_path / f"died-{number}", environment)
    again = run_seedbed(command, environment)
    assert again.returncode == 0, again.stderr
    check_round(folder, undisturbed)


def _after_what_is_done(step: Step, folder: Path) -> Step:
    """Count the checkpoints of a process that goes on from one."""
    saved = [int(path.name.removeprefix("step-")) for path in folder.glob("adapters/*/checkpoint/step-*")]
    return replace(step, call=step.call - max(saved)) if step.call == STEPS and "save" in step.function else step


@pytest.mark.parametrize("step", [step for step in ROUND if step.who != "service and child"], ids=str)
def test_a_round_of_which_one_process_dies_goes_on_to_the_same_end(
    tmp_path: Path, triggered: Path, undisturbed: Path, environment: dict[str, str], step: Step
) -> None:
    _killed_and_gone_on(tmp_path, triggered, environment, step)
    check_round(tmp_path / "w", undisturbed)


@pytest.mark.manual
@pytest.mark.parametrize("step", ROUND, ids=str)
def test_a_round_killed_at_any_step_goes_on_to_the_same_end(
    tmp_path: Path, triggered: Path, undisturbed: Path, environment: dict[str, str], step: Step
) -> None:
    _killed_and_gone_on(tmp_path, triggered, environment, step)
    check_round(tmp_path / "w", undisturbed)


def _killed_and_gone_on(tmp_path: Path, triggered: Path, environment: dict[str, str], step: Step) -> None:
    folder = tmp_path / "w"
    shutil.copytree(triggered, folder)
    command = ["-w", str(folder), "run", "--rounds", "1"]
    first = run_dying(command, step, tmp_path / "died", environment)
    if first != 0:  # where the trainer alone died, the service went on by itself
        again = run_seedbed(command, environment)
        assert again.returncode == 0, again.stderr


def check_round(folder: Path, undisturbed: Path) -> None:
    """Compare a round that was killed on the way with the one that was not."""
    opened = open_workspace(folder)
    with Pool.open(folder, PoolConfig(first_target=ROWS, step=1000), read_only=True) as pool:
        (run,) = pool.runs()
        (adapter,) = pool.adapters()
        (report,) = pool.reports()
        attempts = pool.attempts(run.round)
        assert check(pool, opened.snapshots) == []
    assert (run.state, run.adapter_id, run.last_error) == (RunState.SUCCEEDED, adapter.id, "")
    assert [attempt.state for attempt in attempts].count(RunState.SUCCEEDED) == 1
    assert RunState.RUNNING not in [attempt.state for attempt in attempts]
    assert adapter.promotion is Promotion.HELD
    (snapshot,) = opened.snapshots.iterdir()
    assert read_snapshot(snapshot).id == run.snapshot_id == adapter.snapshot_id == report.snapshot_id
    for name in ("adapter/adapter_model.safetensors", "adapter/adapter_config.json"):
        path = Path("adapters") / adapter.id / name
        assert sha256_of(folder / path) == sha256_of(undisturbed / path)
    scores = [read_json(place / "reports" / adapter.id / "report.json")["scores"] for place in (folder, undisturbed)]
    assert scores[0] == scores[1]
    kinds = [json.loads(line)["kind"] for line in (folder / "logs" / "events.jsonl").read_text().splitlines()]
    assert kinds.count("training.ended") <= 1


PROMOTION = [
    _service("nothing stored", "pool.pool", "Pool.update_adapter"),
    _service("promotion stored, not published", "pool.pool", "Pool.update_adapter", AFTER),
    _service("published, not loaded", "service.serving", "loaded_models"),
    _service("name written, not loaded", "service.serving", "load_adapter"),
    _service("loaded, not tried", "service.serving", "load_adapter", AFTER),
    _service("tried, older one not unloaded", "service.serving", "effect_of", AFTER),
    _service("about to unload", "service.serving", "unload_adapter"),
    _service("unloaded, not written", "service.serving", "unload_adapter", AFTER),
    _service("about to write how it stands", "service.serving", "write_in_service", call=3),
]
ROLLBACK = [
    _service("nothing stored", "pool.pool", "Pool.update_adapter"),
    _service("rollback stored, not published", "pool.pool", "Pool.update_adapter", AFTER),
    _service("published, not looked at", "service.serving", "loaded_models"),
    _service("about to unload", "service.serving", "unload_adapter"),
    _service("unloaded, not written", "service.serving", "unload_adapter", AFTER),
    _service("about to write how it stands", "service.serving", "write_in_service", call=2),
]


class Served:
    """A workspace with three adapters, of which two were promoted, and a vLLM that has them loaded."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.environment, self.vllm = folder, {"SEEDBED_CACHE": str(cache)}, ScriptedVllm()

    def look(self) -> None:
        """Look at the endpoint, as a service does when it starts and every half a minute."""
        with writing(open_workspace(self.folder)) as context:
            anyio.run(bring_into_service, context)

    def is_in_order(self) -> str:
        """Require that pool, file and server agree; returns which adapter is in service."""
        with Pool.open(self.folder, PoolConfig(), read_only=True) as pool:
            current = in_service(pool.adapters())
            assert check(pool) == []
        record = read_in_service(open_workspace(self.folder))
        assert current is not None
        assert record.in_service is not None
        assert record.in_service.adapter == current.id
        assert record.serving.model == served_name(current.round)
        assert set(record.ours) == set(self.vllm.adapters)
        assert served_name(current.round) in self.vllm.adapters
        assert len(self.vllm.adapters) <= 2
        return current.id


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    folder, cache = tmp_path / "w", tmp_path / "cache"
    monkeypatch.setenv("SEEDBED_CACHE", str(cache))
    create_workspace(folder, base_url="http://127.0.0.1:9/v1", model="base")
    place = Served(folder, cache)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve_scripted(respond=place.vllm)) as url,
    ):
        configure(folder, url)
        with writing(open_workspace(folder)) as context:
            adapters = [add_adapter(context, number) for number in range(3)]
            for adapter in adapters[:2]:
                promote(context, adapter, "better")
                anyio.run(bring_into_service, context)
        assert place.is_in_order() == "round-0001"
        yield place


@pytest.mark.parametrize("step", PROMOTION, ids=str)
def test_a_promotion_killed_at_any_step_is_whole_after_the_next_look(
    tmp_path: Path, served: Served, step: Step
) -> None:
    command = ["-w", str(served.folder), "promote", "round-0002"]
    run_dying(command, step, tmp_path / "died", served.environment)
    served.look()
    assert served.is_in_order() == ("round-0001" if step.name == "nothing stored" else "round-0002")
    if step.name == "nothing stored":
        again = run_seedbed(command, served.environment)
        assert again.returncode == 0, again.stderr
        assert served.is_in_order() == "round-0002"
    assert set(served.vllm.adapters) == {served_name(1), served_name(2)}


@pytest.mark.parametrize("step", ROLLBACK, ids=str)
def test_a_rollback_killed_at_any_step_is_whole_after_the_next_look(tmp_path: Path, served: Served, step: Step) -> None:
    run_dying(["-w", str(served.folder), "rollback"], step, tmp_path / "died", served.environment)
    served.look()
    assert served.is_in_order() == ("round-0001" if step.name == "nothing stored" else "round-0000")
