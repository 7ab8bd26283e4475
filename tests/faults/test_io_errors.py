"""One in a hundred writes and syncs of a real process fails with EIO: nothing told is lost, and work goes on.

Two lives of a writer in the suite; `SEEDBED_LIVES=50 pytest -s tests/faults/test_io_errors.py` lets it die more often.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seedbed.core.config import PoolConfig
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.service.init import create_workspace
from tests.faults.io_errors import IS_THERE, POOL_CALLS, WHY_NOT, failing, under_libfiu
from tests.pool.test_kill import PROGRAM
from tests.service.test_bad_input import a_server
from tests.service.test_disk import serving, status_of, until

pytestmark = [pytest.mark.real, pytest.mark.skipif(not IS_THERE, reason=WHY_NOT)]
SHARE = 0.01
ROWS, FAULTS = 300, 5
"""Told and met in each life, before it is killed."""


def test_nothing_told_is_lost_and_nothing_is_stored_twice(tmp_path: Path) -> None:
    lives = int(os.environ.get("SEEDBED_LIVES", "2"))
    folder, told, faults = tmp_path / "w", list[str](), 0
    for life in range(lives):
        rows, failed = one_life(folder, life, tmp_path / "control")
        told, faults = told + rows, faults + failed
        with Pool.open(folder, PoolConfig(first_target=10, step=10)) as pool:
            stored = [candidate.id for candidate in pool.accepted()]
            assert len(stored) == len(set(stored)) == pool.accepted_count()
            assert set(told) <= set(stored)
            # At most one row a thread can be stored without having been reported.
            assert len(stored) <= len(told) + 8 * (life + 1)
            assert [run.threshold for run in pool.runs()] == list(range(10, len(stored) + 1, 10))
            assert check(pool) == []
    print(f"{lives} lives, {faults} writes failed, {len(told)} rows told, {len(stored)} stored, 0 lost, 0 twice")


def one_life(folder: Path, life: int, control: Path) -> tuple[list[str], int]:
    """Write from eight threads, each row until it is stored, then be killed; returns what was told, and the faults."""
    command = under_libfiu([sys.executable, "-c", PROGRAM, str(folder), str(life)], control)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        with failing(process, control, SHARE, POOL_CALLS):
            while len(_told(lines)) < ROWS or len(_failed(lines)) < FAULTS:
                line = process.stdout.readline()
                assert line, "the writer ended"
                lines.append(line)
            process.kill()
            process.wait()
        lines += process.stdout.readlines()
    return _told(lines), len(_failed(lines))


def _told(lines: list[str]) -> list[str]:
    return [line.strip() for line in lines if len(line) == 33 and line.endswith("\n")]


def _failed(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("failed ")]


def test_a_service_pauses_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    folder, control = tmp_path / "w", tmp_path / "control"
    pauses, was_paused = 0, False

    def has_gone_on(before: int) -> dict[str, Any] | None:
        """Count the pauses, and wait for two of them and for more rows."""
        nonlocal pauses, was_paused
        found = status_of(folder)
        if found is None:
            return None
        is_paused = any("until the pool can be written" in alarm for alarm in found["alarms"])
        pauses, was_paused = pauses + (is_paused and not was_paused), is_paused
        return found if pauses >= 2 and not is_paused and found["accepted"] > before + 100 else None

    def is_calm(before: int) -> dict[str, Any] | None:
        found = status_of(folder)
        return found if found and found["accepted"] > before + 50 and not found["alarms"] else None

    with a_server("--latency-s", "0.02") as base_url:
        create_workspace(folder, base_url=base_url, model="scripted")
        with serving(folder, lambda command: under_libfiu(command, control)) as process:
            begun = until(
                lambda: ((found := status_of(folder)) and found["accepted"] > 50 and found) or None, process, folder
            )
            with failing(process, control, SHARE, POOL_CALLS):
                disturbed = until(lambda: has_gone_on(begun["accepted"]), process, folder)
            calm = until(lambda: is_calm(disturbed["accepted"]), process, folder)
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
    with Pool.open(folder, PoolConfig(), read_only=True) as pool:
        accepted = pool.accepted_count()
        assert accepted >= calm["accepted"]
        assert check(pool) == []
    print(f"{pauses} pauses; {begun['accepted']} rows before, {disturbed['accepted']} with errors, {accepted} after")
