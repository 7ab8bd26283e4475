"""One training job: what is trained on what, where it goes, and the wish to stop. No torch is loaded here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from seedbed.core.config import TrainingConfig
from seedbed.core.errors import ConfigError
from seedbed.core.files import read_json
from seedbed.core.records import Example
from seedbed.prompts.library import PromptLibrary
from seedbed.prompts.training_text import PACKAGED
from seedbed.weights.resolve import Weights

CHECKPOINT_STATE = "state.json"
"""Written last into a checkpoint's folder, so that one without it is not whole."""

# Settings that may change between the attempts at one run: they do not change what is learned.
_FREE_SETTINGS = {
    "threads",
    "checkpoint_every_steps",
    "evaluate_every_steps",
    "max_attempts",
    "hung_after_s",
    "activation_checkpointing",
    "trackers",
}


class Show(Protocol):
    """Shows a line to people. One that is passing may be overwritten by the next, or left out."""

    def __call__(self, line: str, *, is_passing: bool = False) -> None: ...


def show_nothing(line: str, *, is_passing: bool = False) -> None:
    """Show nothing."""


class StopAskedError(Exception):
    """Raised at the next safe point after a stop was asked for."""


@dataclass(slots=True)
class Stop:
    """Set from a signal handler; read between passes."""

    is_asked: bool = False

    def check(self) -> None:
        """Raise StopAskedError if a stop was asked for."""
        if self.is_asked:
            raise StopAskedError


@dataclass(frozen=True, slots=True)
class Job:
    """What is trained on what, and where it goes."""

    snapshot_id: str
    train: list[Example]
    validation: list[Example]
    weights: Weights
    out: Path
    config: TrainingConfig
    cache: Path
    show: Show = show_nothing
    prompts: PromptLibrary = PACKAGED
    """The words around a row; a workspace may have its own."""

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint or an adapter to be this job's."""
        config, prompts = self.config.model_dump(mode="json"), self.prompts.overridden("training")
        return identity(self.snapshot_id, self.weights.base_sha256, config, prompts)


def identity(snapshot_id: str, base_sha256: str, config: dict[str, Any], prompts: dict[str, str]) -> dict[str, Any]:
    """Name snapshot, base, templates of one's own and every setting that changes what is learned.

    Flat, so that a difference can be named.
    """
    named = {f"training.{key}": value for key, value in config.items() if key not in _FREE_SETTINGS}
    return {"snapshot_id": snapshot_id, "base_sha256": base_sha256, "prompts": prompts, **named}


def newest_checkpoint(folder: Path, run: dict[str, Any]) -> Path | None:
    """Return the newest whole checkpoint, None where there is none.

    Raises:
        ConfigError: It belongs to another run.
    """
    newest = max((path.parent for path in folder.glob(f"step-*/{CHECKPOINT_STATE}")), default=None)
    if newest and (differing := differences(read_json(newest / CHECKPOINT_STATE)["run"], run)):
        raise ConfigError(
            f"{folder} is of another run ({', '.join(differing)} differ): name another output folder, or remove it"
        )
    return newest


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the names under which two identities differ, sorted.

    A setting that one lacks, because an older version wrote it, had what is the default now.
    """
    defaults = identity("", "", TrainingConfig().model_dump(mode="json"), {})
    found, wanted = defaults | found, defaults | wanted
    return sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
