"""What other trainers need to find an exported file: LLaMA-Factory's `dataset_info.json`, axolotl's `datasets`."""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from seedbed.core.errors import InputError
from seedbed.core.files import read_json
from seedbed.service.export import Format

LLAMA_FACTORY_FILE = "dataset_info.json"
ENDINGS = {".json": "json", ".jsonl": "json", ".parquet": "parquet"}
"""Names of files, by which LLaMA-Factory tells what they are, and what axolotl calls it."""


class Reader(StrEnum):
    """A trainer that is told by a file how to read another."""

    LLAMA_FACTORY = "llamafactory"
    AXOLOTL = "axolotl"


@dataclass(frozen=True, slots=True)
class ReaderConfig:
    """A file for a trainer, not yet written."""

    path: Path
    text: str


_TRIPLE = {"prompt": "instruction", "query": "input", "response": "output"}
_SHAREGPT_TAGS = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"}
_MESSAGES_TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}

LLAMA_FACTORY: dict[Format, dict[str, Any]] = {
    Format.ALPACA: {"columns": _TRIPLE},
    Format.ALPACA_LINES: {"columns": _TRIPLE},
    Format.PARQUET: {"columns": _TRIPLE},
    Format.SHAREGPT: {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations"},
        "tags": _SHAREGPT_TAGS,
    },
    Format.SHAREGPT_LINES: {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations"},
        "tags": _SHAREGPT_TAGS,
    },
    Format.MESSAGES: {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": _MESSAGES_TAGS},
}
"""An entry of `dataset_info.json` without its file, by format."""

_AXOLOTL_SHAREGPT = {
    "type": "chat_template",
    "field_messages": "conversations",
    "message_property_mappings": {"role": "from", "content": "value"},
    "roles": {"user": ["human"], "assistant": ["gpt"]},
}
AXOLOTL: dict[Format, dict[str, Any]] = {
    Format.ALPACA: {"type": "alpaca"},
    Format.ALPACA_LINES: {"type": "alpaca"},
    Format.PARQUET: {"type": "alpaca"},
    Format.SHAREGPT: _AXOLOTL_SHAREGPT,
    Format.SHAREGPT_LINES: _AXOLOTL_SHAREGPT,
    Format.MESSAGES: {
        "type": "chat_template",
        "field_messages": "messages",
        "message_property_mappings": {"role": "role", "content": "content"},
    },
}
"""An entry of axolotl's `datasets` without its file, by format."""


def reader_config(reader: Reader, form: Format, path: Path) -> ReaderConfig:
    """Return the file that lies beside an export and tells a trainer how to read it.

    LLaMA-Factory has one file for all its data sets, so the entry is added to the one that is there.

    Raises:
        InputError: No trainer reads this format, or the file that is there cannot take the entry.
    """
    known = LLAMA_FACTORY if reader is Reader.LLAMA_FACTORY else AXOLOTL
    if form not in known:
        raise InputError(f"{reader} reads no {form} as it is exported; choose one of {', '.join(known)}")
    kind = ENDINGS.get(path.suffix)
    if kind != ("parquet" if form is Format.PARQUET else "json"):
        wanted = ".parquet" if form is Format.PARQUET else ".json or .jsonl"
        raise InputError(f"{reader} tells a file by its name, which must end in {wanted}; got {path.name}")
    if reader is Reader.LLAMA_FACTORY:
        return _llama_factory(known[form], path)
    config = path.with_name(f"{path.name}.axolotl.yaml")
    if config.exists():
        raise InputError(f"{config} exists; name a new file")
    entry = {"path": path.name, "ds_type": kind, **known[form]}
    return ReaderConfig(config, f"datasets:\n  - {_yaml(entry)}")


def _llama_factory(entry: dict[str, Any], path: Path) -> ReaderConfig:
    config, name = path.with_name(LLAMA_FACTORY_FILE), path.stem
    known = read_json(config) if config.exists() else {}
    if not isinstance(known, dict):
        raise InputError(f"{config} is not an object of data sets")
    if name in known:
        raise InputError(f'{config} has a data set "{name}" already; name another file')
    known[name] = {"file_name": path.name, **entry}
    return ReaderConfig(config, json.dumps(known, indent=2, ensure_ascii=False) + "\n")


def _yaml(entry: dict[str, Any]) -> str:
    """Write a list item of block YAML; its values are JSON, which YAML reads."""
    return "    ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in entry.items())
