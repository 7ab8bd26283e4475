"""What hostile bytes may come in by: each target reads some, and may raise nothing but an error of ours.

`test_fuzz.py` gives them texts that hypothesis makes; by hand, guided by coverage and for as long as one likes:

    pip install atheris
    python -m tests.faults.fuzzing completions -max_total_time=600
"""

import inspect
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from seedbed.core.config import Config
from seedbed.core.errors import SeedbedError
from seedbed.core.files import read_json, read_json_lines
from seedbed.core.load import load_config
from seedbed.core.records import FinishReason, Message, Request
from seedbed.core.snapshots import read_snapshot
from seedbed.endpoints.wire import Address, completion_of, error_of, parse_retry_after
from seedbed.evaluation.tasks import read_set
from seedbed.filters.references import read_reference
from seedbed.generator.arithmetic import asked_sum, last_number, sums_in
from seedbed.generator.formats import is_allowed_label, is_of_format
from seedbed.generator.judging import read_marks
from seedbed.generator.labels import labels_in
from seedbed.generator.parse import (
    parse_instances,
    parse_instructions,
    parse_tasks,
    parse_triples,
    parse_yes_no,
    plain_text,
)
from seedbed.seeds.load import check_seed_tasks, load_categories, load_seed_tasks
from seedbed.service.row_shapes import ShapeError, candidate_of
from seedbed.service.rows import BadRow, RowFile

Target = Callable[[bytes], None]

MEMORY = Path("/dev/shm")
ADDRESS = Address("teacher", "m", "http://127.0.0.1:9/v1")
REQUEST = Request(id="r", purpose="alpaca", messages=(Message(role="user", content="Write a task."),))
REFERENCES = (".txt", ".jsonl", ".json", ".csv", ".tsv", ".parquet")
KNOWN = ("mt_bench", "self_instruct_user_oriented", "commonsense_qa", "gsm8k", "other")
"""Names of files, of which all but the last are read as that benchmark."""


def completions(data: bytes) -> None:
    """What a model wrote: read by every recipe, the judge and the checks."""
    text = data.decode("utf-8", "surrogatepass") if _is_text(data) else data.decode("utf-8", "replace")
    reason = list(FinishReason)[len(data) % len(FinishReason)]
    for triple in parse_triples(text, reason).rows:
        assert triple.instruction
        assert triple.output
    for instance in parse_instances(text, reason).rows:
        assert instance.output
    assert all(task.instruction for task in parse_tasks(text, reason).rows)
    assert all(parse_instructions(text, reason).rows)
    for read in (plain_text, parse_yes_no, read_marks, labels_in, sums_in, asked_sum, last_number):
        read(text)
    is_of_format(f"Return valid JSON, XML or CSV. {text[:200]}", text)
    is_allowed_label(f"Classify as one of: {text}", text)


def answers(data: bytes) -> None:
    """What a model server sends."""
    with suppress(SeedbedError):
        completion_of(data, REQUEST, ADDRESS, 0.1)
    text = data.decode("latin-1")
    for status in (200, 302, 400, 401, 404, 408, 429, 500, 503):
        error_of(status, {"Retry-After": text, "Location": text}, data, ADDRESS)
    parse_retry_after(text)


def seeds(data: bytes) -> None:
    """A user's seed file."""
    with _file(data, "seeds.jsonl") as path:
        problems = check_seed_tasks(path, None)
        with suppress(SeedbedError):
            tasks = load_seed_tasks(path)
            assert not problems
            assert all(task.id and task.instruction for task in tasks)


def categories(data: bytes) -> None:
    """A user's category file."""
    with _file(data, "categories.toml") as path, suppress(SeedbedError):
        load_categories(path)


def config(data: bytes) -> None:
    """A user's settings, in the file and in the environment."""
    with _file(data, "seedbed.toml") as path, suppress(SeedbedError):
        load_config(path, {})
    text = data.decode("utf-8", "replace").replace("\0", "")
    for name in ("POOL__FIRST_TARGET", "GENERATION__RECIPES", "ENDPOINTS", "TEACHER", text[:40]):
        with _file(b"", "seedbed.toml") as path, suppress(SeedbedError):
            assert isinstance(load_config(path, {f"SEEDBED__{name}": text}), Config)


def rows(data: bytes) -> None:
    """A file to import or to filter: JSON lines, a JSON array, Parquet, gzip."""
    with _file(data, "rows") as path, suppress(SeedbedError):
        file = RowFile(path)
        assert isinstance(file.columns, tuple)
        for row in file.rows():
            if not isinstance(row, BadRow):
                with suppress(ShapeError):
                    candidate_of(row.value, row.number)


def references(data: bytes) -> None:
    """A benchmark to keep out, of any kind."""
    suffix = REFERENCES[len(data) % len(REFERENCES)] + (".gz" if data[:2] == b"\x1f\x8b" else "")
    for name in KNOWN:
        with _file(data, name + suffix) as path, suppress(SeedbedError):
            assert read_reference(path).items


def sets(data: bytes) -> None:
    """A user's held-out set."""
    with _file(data, "set.jsonl") as path, suppress(SeedbedError):
        list(read_set(path, 10))


def own_files(data: bytes) -> None:
    """Files of our own that somebody changed."""
    with _file(data, "manifest.json") as path:
        with suppress(SeedbedError):
            read_json(path)
        with suppress(SeedbedError):
            read_snapshot(path.parent)
        list(read_json_lines(path))


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (completions, answers, seeds, categories, config, rows, references, sets, own_files)
}


class _file:  # noqa: N801 - reads as what it is in a with statement
    """A file of this content in a folder of its own."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data, self._name = data, name

    def __enter__(self) -> Path:
        self._folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        path = Path(self._folder.name) / self._name
        path.write_bytes(self._data)
        return path

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def main() -> None:
    """Fuzz one target by coverage."""
    import atheris

    target = TARGETS[sys.argv.pop(1)]
    for name, module in list(sys.modules.items()):
        for function in vars(module).values() if name.startswith("seedbed.") else ():
            if inspect.isfunction(function) and function.__module__ == name:
                atheris.instrument_func(function)
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
