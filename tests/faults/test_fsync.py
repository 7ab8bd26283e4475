"""A row is told as stored only after the disk has it: the order of system calls, as the kernel saw them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

PROGRAM = """
import os, sys
from pathlib import Path
from seedbed.core.config import PoolConfig
from seedbed.core.records import Candidate, Decision, Lineage, Subject
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided

with Pool.open(Path(sys.argv[1]), PoolConfig(first_target=1000, step=1000)) as pool:
    os.write(1, b"OPEN\\n")
    for number in range(20):
        candidate = Candidate.of(f"row {number}", "", "x", lineage=Lineage(recipe="alpaca"))
        decision = Decision(subject=Subject.CANDIDATE, subject_id=candidate.id, sequence=0, accepted=True,
                            verdicts=(), decided_at=0.0)
        pool.commit([Decided(candidate, decision)])
        os.write(1, f"TOLD {number}\\n".encode())
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_every_row_is_synced_before_it_is_told(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = "trace=write,pwrite64,fdatasync,fsync"
    strace = ("strace", "-f", "-y", "-s", "16", "-e", calls, "-o", str(trace))
    subprocess.run(
        [*strace, sys.executable, "-c", PROGRAM, str(tmp_path / "pool")],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    told, written, synced = 0, 0, 0
    lines = trace.read_text(errors="replace").splitlines()
    opened = next(at for at, line in enumerate(lines) if "OPEN" in line)
    for line in lines[opened:]:
        if re.search(r"\bpwrite64\(\d+<[^>]*-wal>", line):
            written, synced = written + 1, 0
        elif re.search(r"\bf(data)?sync\(\d+<[^>]*-wal>", line) and "unfinished" not in line:
            synced += 1
        elif "TOLD" in line:
            assert written, f"{line}: nothing was written for it"
            assert synced, f"{line}: told before the log was synced"
            told, written, synced = told + 1, 0, 0
    assert told == 20
