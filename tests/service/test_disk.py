"""A disk that takes no more: the service waits, shows why, can be read, and goes on by itself."""

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from seedbed.core.config import PoolConfig
from seedbed.core.events import Event, EventFile
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.service.init import create_workspace
from tests.service.test_bad_input import a_server

MEGABYTE = 1_000_000


@contextmanager
def serving(
    folder: Path, wrapped: Callable[[list[str]], list[str]] = lambda command: command
) -> Iterator[subprocess.Popen[str]]:
    command = wrapped([sys.executable, "-m", "seedbed", "-w", str(folder), "serve", "--port", "0"])
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def until(look: Callable[[], Any], process: subprocess.Popen[str], folder: Path) -> Any:
    """Wait until something is seen; the suite's own limit ends a wait for nothing."""
    while True:
        assert process.poll() is None, (folder / "output").read_text()
        if (found := look()) is not None:
            return found
        time.sleep(0.2)


def status_of(folder: Path) -> dict[str, Any] | None:
    """Ask the service's own route, as the page does."""
    try:
        where = json.loads((folder / "service.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    headers = {"Authorization": f"Bearer {where['token']}"}
    answer: dict[str, Any] = httpx.get(f"{where['url']}/v1/status", headers=headers, trust_env=False).json()
    return answer


def test_the_service_waits_while_the_pool_cannot_grow_and_goes_on_when_it_can(tmp_path: Path) -> None:
    with a_server() as base_url:
        folder = tmp_path / "w"
        create_workspace(folder, base_url=base_url, model="scripted")
        with serving(folder) as process:
            until(lambda: ((found := status_of(folder)) and found["accepted"] > 50) or None, process, folder)
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            size = (folder / "pool.sqlite3-wal").stat().st_size + (folder / "pool.sqlite3").stat().st_size
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size // 2, hard))

            def waits() -> dict[str, Any] | None:
                found = status_of(folder)
                alarms = found["alarms"] if found else ()
                return found if any("until the pool can be written" in one for one in alarms) else None

            waiting = until(waits, process, folder)
            assert waiting["phase"] == "paused"
            with Pool.open(folder, PoolConfig(), read_only=True) as pool:
                kept = pool.accepted_count()
            assert waiting["accepted"] == kept
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            after = until(lambda: ((found := status_of(folder)) and found["accepted"] > kept) or None, process, folder)
            assert after
            assert not [one for one in (status_of(folder) or {})["alarms"] if "pool can be written" in one]
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
        with Pool.open(folder, PoolConfig(), read_only=True) as pool:
            assert pool.accepted_count() > kept
            assert check(pool) == []


def test_the_log_counts_what_a_full_disk_did_not_take(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = EventFile(path)
    file(Event("one", 1.0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        for number in range(3):
            file(Event("lost", 2.0, {"number": number}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    file(Event("four", 3.0))
    file.close()
    lines = path.read_bytes().split(b"\n")
    whole = [json.loads(line) for line in (lines[0], *lines[2:]) if line]
    assert [line["kind"] for line in whole] == ["one", "log.lost", "four"]
    assert whole[1]["events"] == 3
