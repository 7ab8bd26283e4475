"""CPU a row: distilabel, Curator and data-designer beside Seedbed's whole path and a bare aiohttp loop.

    python bench/fanout_peers.py --distilabel PYTHON --curator PYTHON --data-designer PYTHON [--quick] [--json]

The peers' dependencies exclude each other's and ours: each has an environment of its own, and its interpreter is named.

    python -m venv distilabel && distilabel/bin/pip install distilabel[openai]==1.5.3 openai==3.57.0 requests==2.34.2
    python -m venv curator && curator/bin/pip install bespokelabs-curator==0.1.31
    python -m venv data-designer && data-designer/bin/pip install data-designer==0.9.7

Curator and data-designer count tokens with tiktoken, which downloads its vocabulary; without a network, set
TIKTOKEN_CACHE_DIR to a folder that has it (Curator's environment does: litellm/litellm_core_utils/tokenizers).

All ask the mock server of fanout.py, with the same number in flight. Each arm is a process that makes so many rows and
ends; what counts is the difference between many rows and few, which leaves starting out. CPU is that of the process and
of all that descend from it. The peers' little programs lie in `peers/`; they ask and store text, no more. Seedbed also
stores each request and answer, parses, filters, and has a row on disk before it counts. Client on the first core,
server on the last; arms take turns; medians.
"""

import argparse
import ctypes
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROMPT = "Write three new tasks of this kind. " * 40
OURS = {"bare": "aiohttp_rows.py", "seedbed": "seedbed_rows.py"}
PEERS = {
    "distilabel": ("distilabel", "distilabel_rows.py"),
    "curator": ("bespokelabs-curator", "curator_rows.py"),
    "data-designer": ("data-designer", "data_designer_rows.py"),
}
"""Distribution and program of each."""
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NEMO_TELEMETRY_ENABLED": "false",
    "TELEMETRY_ENABLED": "false",
}
"""Each library's own switch against telemetry and downloads."""
BAR = 0.1
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    few: int
    many: int
    in_flight: int
    latency_s: float
    repeats: int


QUICK = Size(few=256, many=2048, in_flight=256, latency_s=0.5, repeats=1)
FULL = Size(few=256, many=4096, in_flight=256, latency_s=0.5, repeats=3)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process and its descendants took."""

    cpu_s: float
    wall_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, under 50 s without peers")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    for peer in PEERS:
        parser.add_argument(f"--{peer}", type=Path, metavar="PYTHON", help=f"interpreter of an environment with {peer}")
    chosen = parser.parse_args()
    given = {peer: getattr(chosen, peer.replace("-", "_")) for peer in PEERS}
    pythons = {peer: python.absolute() for peer, python in given.items() if python}
    report(measure(QUICK if chosen.quick else FULL, pythons), as_json=chosen.json)


def measure(size: Size, pythons: dict[str, Path]) -> dict[str, Any]:
    programs = {arm: (sys.executable, program) for arm, program in OURS.items()}
    programs |= {peer: (str(python), PEERS[peer][1]) for peer, python in pythons.items()}
    results: dict[str, list[tuple[Spent, Spent]]] = {arm: [] for arm in programs}
    server, url = started_server(size.latency_s)
    try:
        common = ["--url", url, "--in-flight", str(size.in_flight), "--prompt", PROMPT]
        commands = {
            arm: [python, str(HERE / "peers" / program), *common] for arm, (python, program) in programs.items()
        }
        for command in commands.values():
            spent_by(command, rows=size.few)  # compiles what is compiled once
        for _ in range(size.repeats):
            for arm, command in commands.items():
                results[arm].append((spent_by(command, rows=size.few), spent_by(command, rows=size.many)))
    finally:
        server.terminate()
        server.wait()
    rows = [{"arm": arm, **row_of(pairs, size)} for arm, pairs in results.items()]
    return {
        "versions": {name: version(name) for name in ("aiohttp", "anyio", "uvloop")}
        | {"python": platform.python_version()}
        | {peer: version_in(python, PEERS[peer][0]) for peer, python in pythons.items()},
        "sizes": asdict(size),
        "rows": rows,
        "bars": bars(rows),
        "not_run": [
            f"CPU a row against {peer} (give its interpreter as --{peer})" for peer in PEERS if peer not in pythons
        ],
    }


def row_of(pairs: Sequence[tuple[Spent, Spent]], size: Size) -> dict[str, float]:
    rows = size.many - size.few
    cpu = [(many.cpu_s - few.cpu_s) / rows * 1e6 for few, many in pairs]
    return {
        "cpu_us_per_row": round(statistics.median(cpu), 1),
        "lowest": round(min(cpu), 1),
        "highest": round(max(cpu), 1),
        "rows_per_s": round(statistics.median(rows / (many.wall_s - few.wall_s) for few, many in pairs), 1),
        "start_cpu_s": round(statistics.median(few.cpu_s for few, _ in pairs), 2),
    }


def bars(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    cpu = {row["arm"]: row["cpu_us_per_row"] for row in rows}
    ratios = {peer: cpu["seedbed"] / cpu[peer] for peer in PEERS if peer in cpu}
    return [
        {
            "name": f"seedbed's whole path: CPU a row against {peer}",
            "value": round(ratio, 4),
            "wanted": f"<= {BAR}",
            "holds": ratio <= BAR,
        }
        for peer, ratio in ratios.items()
    ]


def started_server(latency_s: float) -> tuple["subprocess.Popen[str]", str]:
    command = [sys.executable, str(HERE / "fanout.py"), "--serve", str(latency_s)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(server.pid, {max(os.sched_getaffinity(0))})
    assert server.stdout is not None
    return server, server.stdout.readline().strip()


def spent_by(command: Sequence[str], *, rows: int) -> Spent:
    """Run a program in an empty folder that is its home, and return what it and all its descendants took."""
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(dir=Path.cwd(), ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "log"
        # Numba's compiled kernels are cached beside our sources, so the empty home costs us no compiling.
        home = {} if command[0] == sys.executable else {"HOME": folder}
        with log.open("wb") as output:
            start = time.perf_counter()
            child = subprocess.Popen(
                [*command, "--rows", str(rows)],
                cwd=folder,
                env=os.environ | OFFLINE | home,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - no threads here
            )
            cpu_s = reaped_cpu_s(child)
            wall_s = time.perf_counter() - start
        text = log.read_text(errors="replace")
    if child.returncode or f"rows: {rows}\n" not in text:
        sys.exit(f"{' '.join(command[:2])} did not make {rows} rows (exit {child.returncode}):\n{text[-4000:]}")
    return Spent(cpu_s, wall_s)


def reaped_cpu_s(child: "subprocess.Popen[bytes]") -> float:
    """Wait for a process and what it leaves behind, and return the CPU of all.

    A process's usage holds that of the children it waited for. Orphans become ours (`PR_SET_CHILD_SUBREAPER`), and are
    waited for here. That nothing slipped through, such as a child whose parent never waits, is checked against what
    was seen of each process in /proc while it ran.
    """
    adopt_orphans()
    seen: dict[int, float] = {}
    waited = 0.0
    while True:
        seen |= descendants_cpu_s(child.pid)
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(0.25)
    child.returncode = os.waitstatus_to_exitcode(status)
    waited += usage.ru_utime + usage.ru_stime
    waited += sum(wait_for_orphan(pid) for pid in sorted(seen) if pid != child.pid)
    if waited < 0.97 * sum(seen.values()) - 0.1:
        sys.exit(f"{sum(seen.values()):.1f} s of CPU were seen in /proc, but only {waited:.1f} s were waited for")
    return waited


def adopt_orphans() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait_for_orphan(pid: int) -> float:
    """Wait 10 s for a process that may have become ours, then end it; 0 where it is none of ours."""
    try:
        for _ in range(100):
            found, _, usage = os.wait4(pid, os.WNOHANG)
            if found:
                return usage.ru_utime + usage.ru_stime
            time.sleep(0.1)
        os.kill(pid, signal.SIGTERM)
        usage = os.wait4(pid, 0)[2]
    except ChildProcessError:
        return 0.0
    return usage.ru_utime + usage.ru_stime


def descendants_cpu_s(root: int) -> dict[int, float]:
    """Return the CPU, by process, of `root` and of all that descend from it, without what they waited for."""
    parents: dict[int, int] = {}
    cpu_s: dict[int, float] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # gone meanwhile
                continue
            pid = int(path.name)
            parents[pid] = int(fields[1])
            cpu_s[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descends(pid: int) -> bool:
        while pid not in {0, root}:
            pid = parents.get(pid, 0)
        return pid == root

    return {pid: spent for pid, spent in cpu_s.items() if descends(pid)}


def version_in(python: Path, distribution: str) -> str:
    program = f"from importlib.metadata import version; print(version({distribution!r}))"
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def report(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    print("  ".join(f"{name} {number}" for name, number in result["versions"].items()))
    bare_cpu = result["rows"][0]["cpu_us_per_row"]
    for row in result["rows"]:
        print(
            "  ".join(f"{key}: {value}" for key, value in row.items()),
            f" times bare: {row['cpu_us_per_row'] / bare_cpu:.2f}",
        )
    for bar in result["bars"]:
        print(f"{'holds ' if bar['holds'] else 'MISSED'}  {bar['name']}: {bar['value']} (wanted {bar['wanted']})")
    for name in result["not_run"]:
        print(f"not run: {name}")


if __name__ == "__main__":
    main()
