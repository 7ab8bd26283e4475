"""Programs of a model, held: what they may not do, and what is made of how they end."""

import json
from pathlib import Path

import pytest

from seedbed.core.errors import ConfigError
from seedbed.generator.code_check import runs_well
from seedbed.generator.sandbox import MOST_OUTPUT, MOST_PROGRAM, Limits, Ran, require_sandbox, run_python

LIMITS = Limits(time_s=3.0, memory_mb=128)


def has_sandbox() -> bool:
    try:
        require_sandbox()
    except ConfigError:
        return False
    return True


def sandboxes() -> list[Path]:
    """Find the sandboxes that run now."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"--tmpfs\0/work" in file.read_bytes():
                found.append(file)
        except OSError:
            continue
    return found


needs_sandbox = pytest.mark.skipif(not has_sandbox(), reason="bubblewrap cannot make a sandbox here")
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_without_bubblewrap_it_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match=r"run_code needs bubblewrap .*set run_code = false"):
        require_sandbox()


def test_a_sandbox_that_cannot_be_made_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'no namespaces today' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(ConfigError, match="could make none here: no namespaces today"):
        require_sandbox()


@needs_sandbox
@pytest.mark.parametrize(
    ("program", "ended", "said"),
    [
        ("print(sum(range(5)))", Ran.WELL, "10\n"),
        ("x =", Ran.FAILED, ""),
        ("print('so far')\n1 / 0", Ran.FAILED, "so far\n"),
        ("input('name? ')", Ran.WANTS_INPUT, "name? "),
        ("import surely_not_installed", Ran.WANTS_INPUT, ""),
        ("x = 'a' * 10**10", Ran.STOPPED, ""),
        ("while True: pass", Ran.STOPPED, ""),
    ],
)
async def test_how_a_program_ends_is_told(program: str, ended: Ran, said: str) -> None:
    ran = await run_python(program, LIMITS)
    assert (ran.ended, ran.output) == (ended, said)


@needs_sandbox
@pytest.mark.parametrize(
    "program",
    [
        "import socket; socket.create_connection(('127.0.0.1', 80), 1)",
        "import socket; socket.create_connection(('192.0.2.1', 80), 1)",
        "import os; os.fork()",
        "import subprocess; subprocess.run(['/usr/bin/id'])",
        "import threading; threading.Thread(target=print).start()",
        "open('/etc/passwd')",
        "open('/usr/bin/python3', 'w')",
        "open('/python/x', 'w')",
        "open('/work/x', 'w').write('x' * 2_000_000)",
        "import os; os.setuid(0)",
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))",
    ],
)
async def test_what_a_program_may_not_do_fails(program: str) -> None:
    assert (await run_python(program, LIMITS)).ended in (Ran.FAILED, Ran.WANTS_INPUT, Ran.STOPPED)


@needs_sandbox
async def test_a_program_sees_nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "do not tell")
    program = (
        "import os, json\n"
        "pids = [one for one in os.listdir('/proc') if one.isdigit()]\n"
        "print(json.dumps([sorted(os.environ), os.listdir('.'), sorted(os.listdir('/')), len(pids), os.getuid()]))"
    )
    ran = await run_python(program, LIMITS)
    assert ran.ended is Ran.WELL, ran.error
    environment, here, root, processes, user = json.loads(ran.output)
    assert set(environment) <= {"PWD", "LC_CTYPE"}
    assert here == []
    assert root == ["bin", "dev", "lib", "lib64", "proc", "python", "usr", "work"]
    assert processes <= 3
    assert user != 0


@needs_sandbox
async def test_a_flood_is_cut_off_and_nothing_of_it_stays_behind() -> None:
    ran = await run_python("while True: print('y' * 1000)", LIMITS)
    assert ran.ended is Ran.STOPPED
    assert len(ran.output) == MOST_OUTPUT
    assert not sandboxes()


@needs_sandbox
async def test_a_program_too_long_is_not_run() -> None:
    assert (await run_python("#" * (MOST_PROGRAM + 1), LIMITS)).ended is Ran.STOPPED


@needs_sandbox
@pytest.mark.parametrize(
    ("row", "is_right"),
    [
        (("Write a Python function that doubles.", "", "```python\ndef double(x):\n    return 2 * x\n```"), True),
        (("Write a Python function that doubles.", "", "```python\ndef double(x)\n    return 2 * x\n```"), False),
        (("Write a Python loop.", "", "for n in range(3):\n    print(n / 0)"), False),
        (("What does this code print?", "print('a' * 3)", "It prints aaa."), True),
        (("What does this code print?", "print('a' * 3)", "aaaa, since 'a' stands alone: no"), True),
        (("What does this code print?", "print('a' * 3)", "a3"), False),
        (("Write a test for this Python function.", "def one():\n    return 1", "assert one() == 1"), True),
        (("Write a test for this Python function.", "def one():\n    return 1", "assert one() == 2"), False),
        (("Write JavaScript that adds.", "", "```javascript\nconst f = (a, b) => a + b\n```"), None),
        (("Write Python that reads a name.", "", "```python\nname = input()\n```"), None),
        (("Write a Python line that uses pandas.", "", "```python\nimport pandas\n```"), None),
        (("Show in Python how df is sorted.", "", "```python\ndf.sort_values('a')\n```"), None),
        (("Explain recursion.", "", "A function that calls itself."), None),
    ],
)
async def test_a_coding_row_is_right_wrong_or_not_to_be_told(row: tuple[str, str, str], is_right: bool | None) -> None:
    assert await runs_well(*row, LIMITS) is is_right
