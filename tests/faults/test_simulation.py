"""Whatever dies when, and however endpoints fail: nothing told is lost, nothing enters twice, each trigger fires once.

Twenty-five seeds in the suite; `SEEDBED_SEEDS=10000 pytest -s tests/faults/test_simulation.py` takes more, and
`SEEDBED_SEED=N SEEDBED_SEEDS=1` replays one.
"""

import itertools
import os
import tempfile
from pathlib import Path

from rouge_score.rouge_scorer import RougeScorer

from seedbed.core.config import PoolConfig
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from tests.faults.simulation import FIRST_TARGET, STEP, TARGET, World, simulate

SCORER = RougeScorer(["rougeL"])


def memory() -> str | None:
    """A folder in memory, where there is one: the simulated disk need not survive this machine."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def test_the_invariants_hold_for_every_seed() -> None:
    first, count = int(os.environ.get("SEEDBED_SEED", "0")), int(os.environ.get("SEEDBED_SEEDS", "25"))
    lives = rows = 0
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory(dir=memory()) as folder:
            try:
                world = simulate(seed, Path(folder))
                rows += check_world(world)
            except BaseException as error:
                error.add_note(f"replay: SEEDBED_SEED={seed} SEEDBED_SEEDS=1 pytest {Path(__file__).name}")
                raise
            lives += world.lives
    assert lives > count, "no process died: the simulation shows nothing"
    print(f"seeds {first} to {first + count - 1}: {lives} lives, {rows} rows accepted, 0 violations")


def test_a_seed_replays(tmp_path: Path) -> None:
    found = []
    for name in ("once", "again"):
        world = simulate(3, tmp_path / name)
        with Pool.open(world.folder, PoolConfig(), read_only=True) as pool:
            found.append((world.lives, world.sent, [candidate.id for candidate in pool.accepted()]))
    assert found[0] == found[1]


def check_world(world: World) -> int:
    """Compare what is stored with what the outside saw; returns the number of accepted rows."""
    with Pool.open(world.folder, PoolConfig(first_target=FIRST_TARGET, step=STEP)) as pool:
        accepted = list(pool.accepted())
        ids = [candidate.id for candidate in accepted]
        assert world.acknowledged <= set(ids)
        assert len(set(ids)) == len(ids) == pool.accepted_count() >= TARGET
        assert [run.threshold for run in pool.runs()] == list(range(FIRST_TARGET, len(ids) + 1, STEP))
        for one, other in itertools.combinations(accepted, 2):
            if one.task_id != other.task_id:
                score = SCORER.score(one.instruction, other.instruction)["rougeL"].fmeasure
                assert score <= 0.7, (one.instruction, other.instruction, score)
        counts = pool.counts()
        answered = {completion.request_id for completion in pool.completions()}
        assert all(pool.request(identity) is not None for identity in world.sent | answered)
        assert answered <= world.sent
        assert pool.unanswered() <= counts.requests - len(answered)
        assert check(pool) == []
    return len(ids)
