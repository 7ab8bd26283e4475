"""Where the numbers of a run go beside `metrics.jsonl`: TensorBoard, trackio, Weights & Biases, MLflow."""

import importlib
import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from seedbed.core.errors import ConfigError

PROJECT = "seedbed"


class Tracker(Protocol):
    """Takes the numbers of each step, in order, each once. A resumed run goes on under its name."""

    def tell(self, step: int, values: dict[str, float]) -> None:
        """Take the numbers of a step."""

    def close(self) -> None:
        """Send what is left."""


def open_trackers(names: Sequence[str], out: Path, settings: dict[str, Any], steps_done: int) -> list[Tracker]:
    """Open trackers for the run in `out`. TensorBoard, the default, is left out where it is not installed.

    Raises:
        ConfigError: A tracker was asked for whose package is not installed.
    """
    return [tracker for name in names if (tracker := _TRACKERS[name](out, settings, steps_done)) is not None]


def run_id(out: Path) -> str:
    """Name the run in a folder the same way each time, so that a tracker goes on with it."""
    return f"{out.name}-{sha256(str(out.resolve()).encode()).hexdigest()[:8]}"


class TensorBoard:
    """Event files in `tensorboard/`."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def tell(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A run of Weights & Biases, or of trackio, which has its calls. `WANDB_MODE=offline` keeps it on this disk."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def tell(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def close(self) -> None:
        self._run.finish()


class Mlflow:
    """An MLflow run, at `MLFLOW_TRACKING_URI`."""

    def __init__(self, client: Any, run: str) -> None:
        self._client, self._run = client, run

    def tell(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._run)


def _open_tensorboard(out: Path, _settings: dict[str, Any], steps_done: int) -> Tracker | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return TensorBoard(SummaryWriter(str(out / "tensorboard"), purge_step=steps_done + 1 if steps_done else None))


def _open_wandb(out: Path, settings: dict[str, Any], _steps_done: int) -> Tracker:
    wandb = _package("wandb")
    name = run_id(out)
    return Wandb(wandb.init(project=PROJECT, id=name, name=name, dir=str(out), config=settings, resume="allow"))


def _open_trackio(out: Path, settings: dict[str, Any], _steps_done: int) -> Tracker:
    trackio = _package("trackio")
    return Wandb(trackio.init(project=PROJECT, name=run_id(out), config=settings, resume="allow"))


def _open_mlflow(out: Path, settings: dict[str, Any], _steps_done: int) -> Tracker:
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{(out / 'mlflow.db').resolve()}")
    client = _package("mlflow").MlflowClient()
    found = client.get_experiment_by_name(PROJECT)
    experiment = found.experiment_id if found else client.create_experiment(PROJECT)
    name = run_id(out)
    older = client.search_runs([experiment], f"tags.`mlflow.runName` = '{name}'", max_results=1)
    if older:
        client.update_run(older[0].info.run_id, status="RUNNING")
        return Mlflow(client, older[0].info.run_id)
    run = client.create_run(experiment, run_name=name).info.run_id
    for key, value in settings.items():
        client.log_param(run, key, value)
    return Mlflow(client, run)


_TRACKERS: dict[str, Callable[[Path, dict[str, Any], int], Tracker | None]] = {
    "tensorboard": _open_tensorboard,
    "wandb": _open_wandb,
    "trackio": _open_trackio,
    "mlflow": _open_mlflow,
}


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"training.trackers names {name}, which is not installed: pip install {name}, or take it out"
        ) from error
