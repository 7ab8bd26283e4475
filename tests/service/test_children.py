"""Child processes: how one ended is known, a hung one is ended, and none outlives its service."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import anyio
import pytest

from seedbed.service import children
from seedbed.service.children import Ended, run_module
from seedbed.service.stopping import Stop


def run(
    folder: Path, program: str, *, hung_after_s: float = 0.0, stop: Stop | None = None, stop_after_s: float = 0.0
) -> Ended:
    """Run a program as a module of its own, to its end."""
    (folder / "child.py").write_text(program)
    out, wanted = folder / "out", stop or Stop()
    out.mkdir(exist_ok=True)
    environment = {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}

    async def ask_to_stop() -> None:
        await anyio.sleep(stop_after_s)
        wanted.request()

    found: list[Ended] = []

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            if stop_after_s:
                tasks.start_soon(ask_to_stop)
            ended = await run_module(
                "child",
                [str(out)],
                log=folder / "child.log",
                stop=wanted,
                out=out,
                hung_after_s=hung_after_s,
                environment=environment,
            )
            found.append(ended)

    anyio.run(main)
    return found[0]


def test_a_child_is_given_its_arguments_and_its_output_is_kept(tmp_path: Path) -> None:
    ended = run(tmp_path, "import sys; print(__name__, sys.argv[1:])")
    assert (ended.exit_code, ended.was_stopped, ended.silent_s) == (0, False, 0.0)
    assert ended.tail == f"__main__ ['{tmp_path / 'out'}']"


def test_a_crash_is_an_exit_code_and_a_tail(tmp_path: Path) -> None:
    ended = run(tmp_path, "raise RuntimeError('the GPU fell off')")
    assert ended.exit_code == 1
    assert ended.tail.endswith("RuntimeError: the GPU fell off")
    told = ended.told("the trainer", "training.hung_after_s")
    assert told.startswith(f"the trainer ended with exit code 1; {tmp_path / 'child.log'} ends with:\n")


def test_a_child_that_the_kernel_kills_for_memory_is_told_by_its_signal(tmp_path: Path) -> None:
    ended = run(tmp_path, "import os, signal; print('step 7', flush=True); os.kill(os.getpid(), signal.SIGKILL)")
    assert (ended.exit_code, ended.tail) == (-signal.SIGKILL, "step 7")


@pytest.mark.parametrize("is_deaf", [False, True])
def test_a_child_without_a_sign_of_life_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_deaf: bool
) -> None:
    monkeypatch.setattr(children, "GRACE_S", 0.5)
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if is_deaf else ""
    ended = run(tmp_path, f"import signal, time\n{deaf}\nprint('begun', flush=True)\ntime.sleep(1000)", hung_after_s=1)
    assert ended.exit_code == (-signal.SIGKILL if is_deaf else -signal.SIGTERM)
    assert ended.silent_s == 1
    told = ended.told("the trainer", "training.hung_after_s")
    assert "the trainer showed no sign of life for 1 s (training.hung_after_s) and was ended" in told


@pytest.mark.parametrize(
    "sign",
    ["print(number, flush=True)", "(Path(sys.argv[1]) / 'state.json').write_text(str(number))"],
)
def test_a_line_in_the_log_or_a_changed_file_is_a_sign_of_life(tmp_path: Path, sign: str) -> None:
    program = f"import sys, time\nfrom pathlib import Path\nfor number in range(15):\n    {sign}\n    time.sleep(0.2)"
    assert run(tmp_path, program, hung_after_s=1.5).exit_code == 0


def test_a_wanted_stop_asks_the_child_to_end(tmp_path: Path) -> None:
    program = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("saved"), sys.exit(0)))
print("begun", flush=True)
time.sleep(1000)
"""
    ended = run(tmp_path, program, stop=Stop(), stop_after_s=1.5)
    assert ended.was_stopped
    assert ended.silent_s == 0


PARENT = """
import sys, anyio
from functools import partial
from pathlib import Path
from seedbed.service.children import run_module
from seedbed.service.stopping import Stop
anyio.run(partial(run_module, "child", [], log=Path(sys.argv[1]), stop=Stop()))
"""
CHILD = """
import os, signal, sys, time
def save(*_):
    print("saved", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print(os.getpid(), flush=True)
time.sleep(1000)
"""


def test_a_child_saves_and_ends_when_its_service_is_killed(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    log = tmp_path / "child.log"
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen([sys.executable, "-c", PARENT, str(log)], env=environment) as parent:
        wait_until = partial(_wait, log, parent)
        child = int(wait_until("\n").split()[0])
        parent.kill()
    assert "saved" in _wait(log, None, "saved")
    while _is_there(child):
        time.sleep(0.05)


def _wait(log: Path, process: "subprocess.Popen[bytes] | None", text: str) -> str:
    while not log.exists() or text not in log.read_text():
        assert process is None or process.poll() is None
        time.sleep(0.05)
    return log.read_text()


def _is_there(pid: int) -> bool:
    """A process that ended and that nobody waits for yet is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
