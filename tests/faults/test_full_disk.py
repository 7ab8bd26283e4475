"""A small disk of its own (tmpfs) that is full after any number of bytes: nothing half-written is taken for whole."""

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.errors import PoolFullError, PoolUnavailableError, TrainingError
from seedbed.core.events import Event, EventFile
from seedbed.core.files import is_of_the_disk, write_json
from seedbed.core.records import Candidate
from seedbed.core.snapshots import read_snapshot
from seedbed.evaluation.answers import AnswerBook, AnswerLine
from seedbed.pool.backup import backup, require_sound
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.snapshot import freeze
from seedbed.service.cli import report
from seedbed.service.export import Format, export, export_folder
from tests.pool.conftest import decide

SIZE = 2 * 2**20
PAGE = 4096
"""What tmpfs gives a file at once."""


class SmallDisk:
    """A folder that is a disk of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def free_bytes(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    @contextmanager
    def full_but_for(self, pages: int) -> Iterator[None]:
        """Leave so many pages free while the block runs."""
        filler = self.path / "filler"
        filler.write_bytes(b"x" * (self.free_bytes - pages * PAGE))
        try:
            yield
        finally:
            filler.unlink()


@contextmanager
def mounted(path: Path, options: str) -> Iterator[SmallDisk]:
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here, which takes root: {done.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", f"size={SIZE}") as found:
        yield found


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """Return a pool on another disk, with more rows than a page holds."""
    with Pool.open(tmp_path / "w", PoolConfig()) as opened:
        opened.commit([decide(f"row {number} " + "word " * 40) for number in range(60)])
        yield opened


def until_it_fits(disk: SmallDisk, write: Callable[[], object], is_whole: Callable[[], bool]) -> int:
    """Write with ever more room until it succeeds; before that there must be nothing. Returns how often it failed."""
    left_before = disk.free_bytes
    for pages in range(200):
        with disk.full_but_for(pages):
            if (failed := failure_of(write)) is not None:
                assert isinstance(failed, (PoolUnavailableError, TrainingError)) or is_of_the_disk(failed), repr(failed)
                assert not is_whole()
                continue
            assert is_whole()
            assert disk.free_bytes < left_before
            return pages
    raise AssertionError("it never fitted")


def failure_of(write: Callable[[], object]) -> OSError | TrainingError | None:
    try:
        write()
    except (OSError, TrainingError) as error:
        return error
    return None


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")} - {"filler"}


def test_a_snapshot_is_whole_or_not_there(disk: SmallDisk, pool: Pool) -> None:
    folder = disk.path / "snapshots"

    def is_whole() -> bool:
        return any(read_snapshot(path.parent).train_rows > 0 for path in folder.glob("*/manifest.json"))

    assert until_it_fits(disk, lambda: freeze(pool, folder, round=0), is_whole) > 2
    assert check(pool, folder) == []


@pytest.mark.parametrize("form", [form for form in Format if form is not Format.HF])
def test_an_export_is_whole_or_not_there(disk: SmallDisk, pool: Pool, form: Format) -> None:
    path = disk.path / "rows.out"
    assert until_it_fits(disk, lambda: export(pool.accepted(), form, path), path.exists) > 0
    assert names(disk.path) == {path.name}


def test_an_exported_folder_is_whole_or_not_there(disk: SmallDisk, pool: Pool) -> None:
    path = disk.path / "set"

    def write() -> None:
        splits: dict[str, Iterable[Candidate]] = {"train": pool.accepted(), "validation": pool.accepted()}
        export_folder(splits, path, lambda counts: f"{counts}\n")

    assert until_it_fits(disk, write, path.exists) > 2
    assert {one.name for one in disk.path.iterdir()} == {path.name, "filler"} - {"filler"}


def test_a_backup_is_whole_or_not_there_and_gives_its_room_back(disk: SmallDisk, pool: Pool, tmp_path: Path) -> None:
    path = disk.path / "backup.sqlite3"
    assert until_it_fits(disk, lambda: backup(tmp_path / "w", path), path.exists) > 2
    assert names(disk.path) == {path.name}
    require_sound(path)


def test_a_small_file_is_the_old_one_or_the_new_one(disk: SmallDisk) -> None:
    path = disk.path / "in-service.json"
    write_json(path, {"in_service": "old"})

    def write() -> None:
        write_json(path, {"in_service": "new", "more": "x" * 3 * PAGE})

    assert until_it_fits(disk, write, lambda: json.loads(path.read_text())["in_service"] == "new") > 2
    assert names(disk.path) == {path.name}


def test_a_checkpoint_is_whole_or_the_one_before_stays(disk: SmallDisk) -> None:
    import torch

    from seedbed.trainer.checkpoint import load_checkpoint, save_checkpoint

    parameters = {"a": torch.nn.Parameter(torch.arange(5000.0))}
    optimiser = torch.optim.AdamW(parameters.values(), fused=False)
    parameters["a"].sum().backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    folder = disk.path / "checkpoint"
    save_checkpoint(folder, 1, {}, parameters, optimiser)
    assert until_it_fits(
        disk,
        lambda: save_checkpoint(folder, 2, {}, parameters, optimiser),
        lambda: load_checkpoint(folder, {}, parameters, optimiser) == 2,
    )
    assert [path.name for path in folder.iterdir()] == ["step-00000002"]


def test_an_adapter_replaces_the_one_before_only_when_it_is_whole(disk: SmallDisk) -> None:
    import torch
    from safetensors.numpy import load_file

    from seedbed.trainer.outputs import save_adapter

    path = disk.path / "adapter" / "adapter_model.safetensors"
    save_adapter({"a": torch.zeros(5000)}, {"r": 16}, disk.path, "card")
    tensors = {"a": torch.ones(5000)}
    write = lambda: save_adapter(tensors, {"r": 16}, disk.path, "card" * PAGE)  # noqa: E731
    assert until_it_fits(disk, write, lambda: bool(load_file(path)["a"].all())) > 2


def test_answers_that_were_on_disk_are_kept(disk: SmallDisk) -> None:
    path = disk.path / "answers.jsonl"

    def line(number: int) -> AnswerLine:
        texts = {"instruction": "word " * 400, "input": "", "answer": "yes"}
        return AnswerLine(key=f"key {number}", arm="base", id=f"{number}", part="held_out", ended=True, **texts)

    kept = 0
    with disk.full_but_for(5):
        book = AnswerBook(path)
        while (failed := failure_of(lambda number=kept: book.add([line(number)]))) is None:  # type: ignore[misc]
            kept += 1
        assert is_of_the_disk(failed)
    again = AnswerBook(path)
    assert kept > 3
    assert all(again.known(f"key {number}") for number in range(kept))
    again.add([line(kept)])
    assert AnswerBook(path).known(f"key {kept}")


def test_a_pool_that_fills_its_disk_can_be_read_and_goes_on(tmp_path: Path) -> None:
    told: list[str] = []
    with mounted(tmp_path / "disk", "size=16m") as disk, Pool.open(disk.path / "w", PoolConfig()) as pool:
        for pages in range(0, 60, 3):
            with disk.full_but_for(pages):
                row = decide(f"{pages} 0 " + "word " * 400)
                while (failed := failure_of(lambda row=row: pool.commit([row]))) is None:  # type: ignore[misc]
                    told.append(row.subject.id)
                    row = decide(f"{pages} {len(told)} " + "word " * 400)
                assert isinstance(failed, PoolFullError), repr(failed)
                assert [candidate.id for candidate in pool.accepted()] == told
        pool.commit([decide("there is room again")])
        assert pool.accepted_count() == len(told) + 1
        assert check(pool) == []
    assert len(told) > 20


def test_the_log_goes_on_where_a_full_disk_has_no_place_for_its_next_file(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m,nr_inodes=4") as disk:  # its root, the log, and two more
        log, others = EventFile(disk.path / "events.jsonl", max_bytes=200), [disk.path / name for name in "ab"]
        for other in others:
            other.touch()
        for number in range(20):
            log(Event("one", 1.0, {"number": number}))
        for other in others:
            other.unlink()
        for number in range(20, 25):
            log(Event("one", 1.0, {"number": number}))
        log.close()
        lines = [line for path in disk.path.iterdir() for line in path.read_text().splitlines()]
    told = [json.loads(line) for line in lines]
    assert sorted(event["number"] for event in told if event["kind"] == "one") == list(range(25))


def test_a_full_disk_is_told_in_one_line(disk: SmallDisk, capsys: pytest.CaptureFixture[str]) -> None:
    with disk.full_but_for(0):
        failed = failure_of(lambda: (disk.path / "rows.jsonl").write_text("row"))
        assert failed is not None
        assert report(failed) == 1
    said = capsys.readouterr().err
    assert said.startswith("seedbed: [Errno 28] No space left on device")
    assert "defect" not in said
    assert said.count("\n") == 1
