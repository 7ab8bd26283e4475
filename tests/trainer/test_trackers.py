"""Trackers are told what `metrics.jsonl` is told, by the calls that their packages have."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seedbed.core.errors import ConfigError
from seedbed.trainer.job import Job, Stop
from seedbed.trainer.loop import train
from seedbed.trainer.trackers import open_trackers, run_id

MakeJob = Callable[..., Job]


class FakeWandb:
    """Stands for wandb, and for trackio, which has the same calls."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def init(self, *, project: str, name: str, config: dict[str, Any], resume: str, **settings: Any) -> "FakeWandb":
        self.runs.append({"project": project, "name": name, "config": config, "resume": resume, **settings})
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_run_is_told_to_wandb_and_trackio(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, name, fake)
    job = make_job(epochs=1, trackers=[name])
    assert train(job, Stop())
    lines = [json.loads(line) for line in (job.out / "metrics.jsonl").read_text().splitlines()]
    assert [(step, sorted(values)) for step, values in fake.logged] == [
        (line["step"], sorted(line.keys() - {"step"})) for line in lines
    ]
    assert (fake.runs[0]["project"], fake.runs[0]["resume"], fake.finished) == ("seedbed", "allow", 1)
    assert fake.runs[0]["config"]["training.rank"] == 16
    assert not (job.out / "tensorboard").exists(), "a list that leaves TensorBoard out leaves it out"


def test_a_run_has_one_name_for_ever(tmp_path: Path) -> None:
    assert run_id(tmp_path / "round-0001") == run_id(tmp_path / "round-0001")
    assert run_id(tmp_path / "round-0001") != run_id(tmp_path / "elsewhere" / "round-0001")


class FakeMlflow:
    """An MlflowClient with one experiment."""

    def __init__(self) -> None:
        self.metrics: list[tuple[str, str, float, int]] = []
        self.parameters: dict[str, Any] = {}
        self.names: list[str] = []
        self.ended: list[str] = []

    def MlflowClient(self) -> "FakeMlflow":  # noqa: N802 - its name
        return self

    def get_experiment_by_name(self, _name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        assert name == "seedbed"
        return "7"

    def search_runs(self, _experiments: list[str], _filter: str, max_results: int) -> list[Any]:
        return [SimpleNamespace(info=SimpleNamespace(run_id="r0"))] if self.names else []

    def create_run(self, _experiment: str, run_name: str) -> Any:
        self.names.append(run_name)
        return SimpleNamespace(info=SimpleNamespace(run_id="r0"))

    def update_run(self, run: str, status: str) -> None:
        assert (run, status) == ("r0", "RUNNING")

    def log_param(self, _run: str, key: str, value: Any) -> None:
        self.parameters[key] = value

    def log_metric(self, run: str, key: str, value: float, step: int) -> None:
        self.metrics.append((run, key, value, step))

    def set_terminated(self, run: str) -> None:
        self.ended.append(run)


def test_a_resumed_run_goes_on_in_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for step in (1, 2):
        (tracker,) = open_trackers(["mlflow"], tmp_path, {"rank": 16}, step - 1)
        tracker.tell(step, {"loss": 1.0 / step})
        tracker.close()
    assert fake.names == [run_id(tmp_path)]
    assert fake.parameters == {"rank": 16}
    assert fake.metrics == [("r0", "loss", 1.0, 1), ("r0", "loss", 0.5, 2)]
    assert fake.ended == ["r0", "r0"]


def test_a_tracker_that_is_not_installed_is_refused_by_name(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="pip install wandb"):
        train(make_job(epochs=1, trackers=["wandb"]), Stop())
