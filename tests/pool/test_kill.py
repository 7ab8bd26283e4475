"""A process that is killed loses nothing that it was told is stored.

Three kills in the suite; `SEEDBED_KILLS=2000 SEEDBED_SEED=7 pytest -s tests/pool/test_kill.py` kills more often.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from seedbed.core.config import PoolConfig
from seedbed.pool.check import check
from seedbed.pool.pool import Pool

PROGRAM = """
import sys, threading, time
from pathlib import Path
from seedbed.core.config import PoolConfig
from seedbed.core.errors import PoolUnavailableError
from seedbed.core.records import Candidate, Decision, Lineage, Subject
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided

pool = Pool.open(Path(sys.argv[1]), PoolConfig(first_target=10, step=10))
told = threading.Lock()

def say(text):
    with told:
        print(text, flush=True)

def stored(decided):
    while True:
        try:
            return pool.commit(decided)
        except PoolUnavailableError as error:  # the disk fails for a while
            say(f"failed {error}")
            time.sleep(0.01)

def write(thread):
    for number in range(1_000_000):
        candidate = Candidate.of(f"{sys.argv[2]} {thread} {number}", "", "x", lineage=Lineage(recipe="alpaca"))
        decision = Decision(subject=Subject.CANDIDATE, subject_id=candidate.id, sequence=0, accepted=True,
                            verdicts=(), decided_at=0.0)
        stored([Decided(candidate, decision)])
        say(candidate.id)

threads = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_every_row_reported_accepted_is_there_once_after_kills(tmp_path: Path) -> None:
    kills, seed = int(os.environ.get("SEEDBED_KILLS", "3")), int(os.environ.get("SEEDBED_SEED", "11"))
    chance = random.Random(seed)
    acknowledged: list[str] = []
    for kill in range(kills):
        acknowledged += _killed_after(tmp_path, kill, chance.uniform(0.05, 0.4))
        with Pool.open(tmp_path, PoolConfig(first_target=10, step=10)) as pool:
            stored = [candidate.id for candidate in pool.accepted()]
            assert len(stored) == len(set(stored)) == pool.accepted_count()
            assert set(acknowledged) <= set(stored)
            # At most one row a thread can be stored without having been reported.
            assert len(stored) <= len(acknowledged) + 8 * (kill + 1)
            assert [run.threshold for run in pool.runs()] == list(range(10, len(stored) + 1, 10))
            assert check(pool) == []
    assert len(acknowledged) > 20
    print(f"seed {seed}: {kills} kills, {len(acknowledged)} rows told, {len(stored)} stored, 0 lost")


def _killed_after(folder: Path, kill: int, seconds: float) -> list[str]:
    """Run the writer, kill it so long after its first row, and return the ids it printed whole."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(kill)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        rest = process.stdout.read()
    return [line for line in (first + rest).split("\n")[:-1] if len(line) == 32]
