"""Accepted rows a second of 1, 2 and 4 services that generate for one pool on a PostgreSQL server of our own.

    python bench/nodes.py [--quick] [--json]

All run on one machine: the server, a mock endpoint that answers after a second, and the services, one of which leads
and decides for all. In the first turns each service may ask 24 at once, as where endpoints are the limit: there more
services bring more rows, until the cores are full. In the last turns they may ask as much as they can, as where the
machine is the limit. What the leader, the others, the server and the endpoint take of the CPU is measured beside it.
Without PostgreSQL on the machine nothing is measured (`make postgres` installs Debian's).
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from seedbed.core.config import PoolConfig
from seedbed.core.records import NodeRole
from seedbed.pool.pool import Pool
from seedbed.service.init import create_workspace

LATENCY_S = 1.0
FEW, MANY = 24, 512
"""Recipes at once in one service."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    services: tuple[int, ...]
    turn_s: float
    settle_s: float


QUICK = Size(services=(1, 2), turn_s=5.0, settle_s=3.0)
FULL = Size(services=(1, 2, 4), turn_s=12.0, settle_s=3.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    arguments = parser.parse_args()
    result = measure(QUICK if arguments.quick else FULL)
    if arguments.json:
        print(json.dumps(result))
        return
    for row in result["rows"]:
        print("  ".join(f"{key}: {value}" for key, value in row.items()))
    for bar in result["bars"]:
        print(f"{'holds ' if bar['holds'] else 'MISSED'}  {bar['name']}: {bar['value']} (wanted {bar['wanted']})")
    for name in result["not_run"]:
        print(f"not run: {name}")


def measure(size: Size) -> dict[str, Any]:
    """Run each turn on a new database."""
    rows: list[dict[str, Any]] = []
    try:
        server = throwaway_server()
    except FileNotFoundError as error:
        return {"versions": versions(""), "sizes": {}, "rows": [], "bars": [], "not_run": [str(error)]}
    try:
        where = server.execute("SHOW server_version", "postgres")[0][0]
        for concurrency in (FEW, MANY):
            for count in size.services:
                rows.append(turn(server, count, concurrency, size))
                print(rows[-1], file=sys.stderr)
    finally:
        server.remove()
    few = {row["services"]: row["accepted_per_s"] for row in rows if row["recipes_at_once"] == FEW}
    bars = [
        bar(f"accepted rows/s of {count} services, of {count} times one's", few[count] / few[1] / count, 0.8)
        for count in size.services[1:]
    ]
    return {
        "versions": versions(str(where)),
        "sizes": {"turn_s": size.turn_s, "latency_s": LATENCY_S, "cores": os.cpu_count()},
        "rows": rows,
        "bars": bars,
        "not_run": [] if size is FULL else [f"{count} services" for count in FULL.services if count not in few],
    }


def turn(server: Any, count: int, concurrency: int, size: Size) -> dict[str, Any]:
    """Let so many services generate, and count what the pool gets meanwhile."""
    url = server.new_database()
    environment = {
        "SEEDBED__POOL__URL": url,
        "SEEDBED__POOL__FIRST_TARGET": "10000000",
        "SEEDBED__GENERATION__CONCURRENCY": str(concurrency),
        "OMP_NUM_THREADS": "1",
    }
    with tempfile.TemporaryDirectory() as name, endpoint() as served:
        folder = Path(name)
        with Services(folder, served.url, environment) as services:
            services.start("leader")
            pool = until_there(folder, url)
            with pool:
                wait(lambda: pool.accepted_count() > concurrency)
                for number in range(1, count):
                    services.start(f"other{number}")
                wait(lambda: sum(node.accepted > concurrency // 4 for node in pool.nodes.all()) == count)
                time.sleep(size.settle_s)
                parts = {
                    "endpoint": [served.process],
                    "postgres": postgres_processes(server),
                    **{
                        role.value: [node.process for node in pool.nodes.all() if node.role is role]
                        for role in NodeRole
                    },
                }
                before, cpu, began = pool.counts(), {part: cpu_s(ids) for part, ids in parts.items()}, time.monotonic()
                time.sleep(size.turn_s)
                after, took_s = pool.counts(), time.monotonic() - began
                used = {part: (cpu_s(ids) - cpu[part]) / took_s for part, ids in parts.items()}
    return {
        "services": count,
        "recipes_at_once": concurrency,
        "accepted_per_s": round((after.accepted - before.accepted) / took_s, 1),
        "decided_per_s": round((after.decided - before.decided) / took_s, 1),
        **{f"cores_{part}": round(cores, 2) for part, cores in used.items()},
    }


class Services:
    """Processes of `seedbed serve` on one pool; all end with the block."""

    def __init__(self, folder: Path, endpoint_url: str, environment: dict[str, str]) -> None:
        self._folder, self._endpoint, self._environment = folder, endpoint_url, {**os.environ, **environment}
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> None:
        create_workspace(self._folder / name, base_url=self._endpoint, model="scripted")
        command = [sys.executable, "-m", "seedbed", "-w", str(self._folder / name), "serve", "--port", "0"]
        quiet = subprocess.DEVNULL
        self._running.append(subprocess.Popen(command, env=self._environment, stdout=quiet, stderr=quiet))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait()


@dataclass(frozen=True, slots=True)
class Served:
    """A mock endpoint that runs."""

    url: str
    process: int


@contextmanager
def endpoint() -> Iterator[Served]:
    command = [sys.executable, "-m", "seedbed.endpoints.scripted_server", "--port", "0"]
    command += ["--latency-s", str(LATENCY_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield Served(server.stdout.readline().strip(), server.pid)
        server.kill()


def until_there(folder: Path, url: str) -> Pool:
    """Open the pool for reading, once the first service has made it."""
    while True:
        try:
            return Pool.open(folder / "look", PoolConfig(url=url), read_only=True)
        except FileNotFoundError:
            time.sleep(0.2)


def wait(is_so: Any) -> None:
    while not is_so():
        time.sleep(0.2)


def cpu_s(processes: list[int]) -> float:
    """Return the seconds of CPU that processes used so far; one that has ended counts nothing."""
    total = 0
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_S


def postgres_processes(server: Any) -> list[int]:
    """Return the server's process and those of its sessions."""
    first = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return [first, *map(int, children)]


def throwaway_server() -> Any:
    """Start the server that the tests start.

    Raises:
        FileNotFoundError: None is installed.
    """
    path = Path(__file__).parents[1] / "tests" / "postgres.py"
    spec = importlib.util.spec_from_file_location("throwaway_postgres", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PostgresServer()


def versions(server: str) -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "postgresql": server,
        **{name: version(name) for name in ("sqlalchemy", "psycopg")},
    }


def bar(name: str, value: float, wanted: float) -> dict[str, Any]:
    return {"name": name, "value": round(value, 2), "wanted": f">= {wanted:g}", "holds": value >= wanted}


if __name__ == "__main__":
    main()
