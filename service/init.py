"""Making a workspace: the commented config, the seeds, the empty folders."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from seedbed.core.config import Config
from seedbed.core.errors import ConfigError, InputError
from seedbed.core.files import write_atomic
from seedbed.core.load import parse_config
from seedbed.seeds.load import PACKAGED_CATEGORIES, PACKAGED_TASKS
from seedbed.service.presets import PRESETS, base_settings
from seedbed.service.workspace import CONFIG

FOLDERS = ("prompts", "references", "evaluation", "adapters")

HEAD = """\
# Settings of this Seedbed workspace. Every setting stands here with its meaning; one that is commented out
# shows its default. An environment variable SEEDBED__SECTION__KEY beats this file.
"""


def create_workspace(
    folder: Path, *, preset: str = "", base_url: str = "", model: str = "", api_key_env: str = "", keep: bool = False
) -> Config:
    """Make a workspace in a folder that is empty or not there yet.

    Args:
        folder: Where.
        preset: A name of `PRESETS`, or empty.
        base_url: A server of the user's; without one the embedded server is chosen.
        model: The model that server serves.
        api_key_env: The name of the variable that holds its key.
        keep: A workspace that is already there is left as it is.

    Raises:
        InputError: The folder has something in it.
        ConfigError: The preset is unknown, or the settings do not fit together.
    """
    if preset and preset not in PRESETS:
        raise ConfigError(f'there is no preset "{preset}"; known: {", ".join(PRESETS)}')
    if bool(base_url) != bool(model):
        raise ConfigError("--base-url and --model go together: where the server is, and what to ask it for")
    settings = base_settings(preset, base_url=base_url, model=model, api_key_env=api_key_env)
    config = parse_config(settings, "the command line")
    if (folder / CONFIG).exists():
        if keep:
            return config
        raise InputError(f"{folder} is already a workspace; use it with --workspace {folder}")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name a new folder")
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "seeds").mkdir(exist_ok=True)
    shutil.copyfile(PACKAGED_TASKS, folder / config.seeds.tasks)
    shutil.copyfile(PACKAGED_CATEGORIES, folder / config.seeds.categories)
    write_atomic(folder / CONFIG, render_config(config))
    return config


def render_config(config: Config) -> str:
    """Write a config as TOML with each setting's docstring above it; defaults are commented out."""
    return HEAD + "\n".join(_section(config, "")) + "\n"


def _section(section: BaseModel, path: str) -> Iterator[str]:
    """Yield the lines of a section: its own keys first, as TOML demands, then its tables."""
    fields = type(section).model_fields
    tables = []
    for name, field in fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel) or (name == "endpoints" and not path):
            tables.append((name, value))
            continue
        yield ""
        yield f"# {field.description}"
        is_default = value == field.get_default(call_default_factory=True)
        yield f"{'# ' if is_default else ''}{name} = {toml_value(value)}"
    for name, value in tables:
        inner = f"{path}.{name}" if path else name
        rows = [(f"[[{inner}]]", row) for row in value] if isinstance(value, tuple) else [(f"[{inner}]", value)]
        for header, row in rows:
            yield ""
            yield header
            yield f"# {type(row).__doc__}"
            yield from _section(row, inner)


def toml_value(value: Any) -> str:
    """Write a plain value as TOML; JSON's strings, numbers and booleans are TOML's too."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
