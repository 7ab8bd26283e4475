"""A workspace: the one folder a service serves, and where everything in it lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from seedbed.core.config import Config
from seedbed.core.errors import ConfigError, InputError
from seedbed.core.load import load_config
from seedbed.core.records import SeedTask
from seedbed.seeds.classifier import CategoryClassifier
from seedbed.seeds.load import Categories, load_categories, load_seed_tasks

CONFIG = "seedbed.toml"


@dataclass(frozen=True)
class Workspace:
    """A workspace whose config and seeds have been read and checked."""

    folder: Path
    config: Config
    categories: Categories
    seeds: tuple[SeedTask, ...]

    @property
    def snapshots(self) -> Path:
        return self.folder / "snapshots"

    @property
    def adapters(self) -> Path:
        return self.folder / "adapters"

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def answers(self) -> Path:
        """Answers to deterministic requests, of earlier runs."""
        return self.folder / "cache" / "answers.sqlite3"

    @property
    def capabilities(self) -> Path:
        """What servers could do when they were tried."""
        return self.folder / "cache" / "capabilities.json"

    @property
    def prompts(self) -> Path:
        """Overrides of the packaged prompt templates."""
        return self.folder / "prompts"

    @property
    def held_out(self) -> tuple[str, ...]:
        return tuple(category.name for category in self.categories.held_out)

    @property
    def trained_seeds(self) -> tuple[SeedTask, ...]:
        return tuple(task for task in self.seeds if task.category not in self.held_out)

    @property
    def held_out_seeds(self) -> tuple[SeedTask, ...]:
        return tuple(task for task in self.seeds if task.category in self.held_out)

    @cached_property
    def classifier(self) -> CategoryClassifier:
        """What tells the category of a row, learned from the seed tasks."""
        from seedbed.filters.category import compiled_scores  # here, so that others do not wait for numba

        return CategoryClassifier(self.seeds, self.held_out, compiled_scores)

    def references(self) -> tuple[Path, ...]:
        """Return the reference files and folders that are there.

        Raises:
            ConfigError: One that the config names is not there.
        """
        paths = [self.folder / name for name in self.config.filters.contamination.references]
        for path, name in zip(paths, self.config.filters.contamination.references, strict=True):
            if not path.exists() and name != "references":
                raise ConfigError(f"filters.contamination.references names {name}, which is not in {self.folder}")
        return tuple(path for path in paths if path.exists())

    def evaluation_sets(self) -> tuple[Path, ...]:
        """Return the user's own held-out sets.

        Raises:
            ConfigError: One that the config names is not there.
        """
        paths = tuple(self.folder / name for name in self.config.evaluation.sets)
        for path in paths:
            if not path.is_file():
                raise ConfigError(f"evaluation.sets names {path}, which is no file")
        return paths


def open_workspace(folder: Path) -> Workspace:
    """Read and check a workspace, changing nothing.

    Raises:
        MissingFileError: There is no seedbed.toml, or a seed file is missing.
        ConfigError: A setting is wrong.
        InputError: A seed task is wrong; the message has file and line.
    """
    config = load_config(folder / CONFIG)
    categories = load_categories(folder / config.seeds.categories)
    seeds = load_seed_tasks(folder / config.seeds.tasks, categories)
    workspace = Workspace(folder, config, categories, seeds)
    _require_seeds(workspace.trained_seeds, folder / config.seeds.tasks)
    workspace.references()
    workspace.evaluation_sets()
    return workspace


def _require_seeds(seeds: Sequence[SeedTask], path: Path) -> None:
    if not seeds:
        raise InputError(f"{path} has no seed task of a category that is not held out; at least one is needed")
