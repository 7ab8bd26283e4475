"""A prune removes what is old and unneeded, tells how much before it does, and may be killed anywhere."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.errors import InputError
from seedbed.core.events import Event
from seedbed.core.records import (
    Adapter,
    Candidate,
    Decision,
    Lineage,
    Promotion,
    RunState,
    Snapshot,
    Subject,
    TrainingRun,
    Verdict,
)
from seedbed.core.retention import RetentionConfig
from seedbed.filters.cascade import Cascade, build_cascade
from seedbed.pool.check import check
from seedbed.pool.records import Decided
from seedbed.pool.snapshot import freeze
from seedbed.service.context import Context, writing
from seedbed.service.disk import DiskWatch, disk_use, in_bytes
from seedbed.service.hand_decisions import decide_row
from seedbed.service.init import create_workspace
from seedbed.service.prune import DAY_S, print_pruned, prune, prune_daily, prune_now, prune_record
from seedbed.service.refilter import refilter
from seedbed.service.status import read_status
from seedbed.service.stopping import Stop
from seedbed.service.workspace import Workspace, open_workspace

NOW = 1_000_000_000.0
RETENTION = RetentionConfig(refused_text_days=10, checkpoints=1, snapshots=1)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    with writing(a_workspace(tmp_path / "w")) as opened:
        yield opened


def a_workspace(folder: Path, retention: RetentionConfig = RETENTION) -> Workspace:
    if not folder.exists():
        create_workspace(folder, base_url="http://127.0.0.1:9/v1", model="none")
    found = open_workspace(folder)
    pool = PoolConfig(first_target=10_000)
    return replace(found, config=found.config.model_copy(update={"retention": retention, "pool": pool}))


def row(text: str, *, accepted: bool = False, days_ago: float = 20.0) -> Decided:
    candidate = Candidate.of(text, "", f"About {text}", lineage=Lineage(recipe="alpaca"))
    verdict = Verdict(filter="rouge", accepted=accepted, reason="" if accepted else "near_duplicate")
    decision = Decision(
        subject=Subject.CANDIDATE,
        subject_id=candidate.id,
        sequence=0,
        accepted=accepted,
        verdicts=(verdict,),
        decided_at=NOW - days_ago * DAY_S,
    )
    return Decided(candidate, decision)


def pruned(context: Context, *, is_dry: bool = False) -> dict[str, tuple[int, int]]:
    done = prune(context, is_dry=is_dry, stop=Stop(), now=lambda: NOW)
    return {kind: (one.items, one.bytes) for kind, one in done.kinds.items() if one.items}


def frozen(context: Context, round: int) -> Snapshot:
    """Freeze a snapshot that differs from those before."""
    context.pool.commit([row(f"Frozen in round {round}", accepted=True)])
    return freeze(context.pool, context.workspace.snapshots, round=round, now=lambda: NOW + round)


def trained(context: Context, round: int, promotion: Promotion) -> str:
    """Leave what a round leaves behind: a run, a snapshot, an adapter's folder with a checkpoint."""
    snapshot = frozen(context, round)
    context.pool.trigger_early()
    update = {"snapshot_id": snapshot.id, "state": RunState.SUCCEEDED, "adapter_id": f"round-{round:04d}"}
    run = context.pool.run(round)
    assert isinstance(run, TrainingRun)
    context.pool.update_run(run.model_copy(update=update))
    folder = context.workspace.adapters / f"round-{round:04d}"
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"a" * 30)
    (folder / "checkpoint" / "step-00000020").mkdir(parents=True)
    (folder / "checkpoint" / "step-00000020" / "optimiser.safetensors").write_bytes(b"o" * 500)
    context.pool.add_adapter(
        Adapter(
            id=folder.name,
            round=round,
            snapshot_id=snapshot.id,
            base="tiny",
            base_sha256="0" * 64,
            path=f"adapters/{folder.name}/adapter",
            promotion=promotion,
            created_at=NOW,
        )
    )
    return snapshot.id


def test_a_dry_run_tells_what_a_prune_would_remove_and_changes_nothing(context: Context) -> None:
    context.pool.commit([row("old"), row("young", days_ago=5), row("kept", accepted=True)])
    # "old" and "About old"
    assert pruned(context, is_dry=True) == {"refused_rows": (1, 3 + 9)}
    assert pruned(context, is_dry=True) == pruned(context)
    assert pruned(context) == {}
    stored = {one.subject.id: one.subject.instruction for one in context.pool.decided()}
    assert stored == {row("old").subject.id: "", row("young").subject.id: "young", row("kept").subject.id: "kept"}
    assert check(context.pool, context.workspace.snapshots) == []


def test_nothing_is_removed_where_a_setting_says_for_ever(tmp_path: Path) -> None:
    with writing(a_workspace(tmp_path / "w", RetentionConfig(refused_text_days=0))) as context:
        context.pool.commit([row("old", days_ago=5000)])
        assert pruned(context) == {}


def test_checkpoints_of_finished_trainings_go_but_for_the_newest(context: Context) -> None:
    for number in range(3):
        trained(context, number, Promotion.PROMOTED)
    assert pruned(context)["checkpoints"] == (2, 1000)
    left = {str(path.relative_to(context.workspace.adapters)) for path in context.workspace.adapters.glob("*/*")}
    assert left == {"round-0000/adapter", "round-0001/adapter", "round-0002/adapter", "round-0002/checkpoint"}


def test_the_checkpoint_of_a_training_that_may_go_on_stays(tmp_path: Path) -> None:
    with writing(a_workspace(tmp_path / "w", RetentionConfig(checkpoints=0))) as context:
        context.pool.commit([row("one", accepted=True)])
        context.pool.trigger_early()
        folder = context.workspace.adapters / "round-0000" / "checkpoint"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text("{}")
        assert pruned(context) == {}


def test_snapshots_of_promoted_and_undecided_adapters_stay_whatever_their_age(context: Context) -> None:
    promoted = trained(context, 0, Promotion.PROMOTED)
    held, rolled_back = trained(context, 1, Promotion.HELD), trained(context, 2, Promotion.ROLLED_BACK)
    pending = trained(context, 3, Promotion.PENDING)
    newest = trained(context, 4, Promotion.HELD)
    assert pruned(context)["snapshots"][0] == 2
    left = {path.name for path in context.workspace.snapshots.iterdir()}
    assert left == {promoted, pending, newest}
    assert not {held, rolled_back} & left
    assert check(context.pool, context.workspace.snapshots) == []


def test_the_snapshot_of_a_round_that_is_not_trained_yet_stays(context: Context) -> None:
    waiting = frozen(context, 0)
    context.pool.trigger_early()
    run = context.pool.run(0)
    assert run is not None
    context.pool.update_run(run.model_copy(update={"snapshot_id": waiting.id}))
    by_hand, newest = frozen(context, 1), frozen(context, 2)
    pruned(context)
    assert {path.name for path in context.workspace.snapshots.iterdir()} == {waiting.id, newest.id}
    assert by_hand.id not in {path.name for path in context.workspace.snapshots.iterdir()}


def test_the_service_prunes_once_a_day(context: Context) -> None:
    told: list[Event] = []
    context.events.add(told.append)
    context.pool.commit([row("one")])
    assert prune_daily(context, Stop(), lambda: NOW) is not None
    context.pool.commit([row("two")])
    assert prune_daily(context, Stop(), lambda: NOW + DAY_S - 1) is None
    done = prune_daily(context, Stop(), lambda: NOW + DAY_S)
    assert done is not None
    assert done.kinds["refused_rows"].items == 1
    assert [event.kind for event in told] == ["pool.pruned", "pool.pruned"]


def test_a_refilter_skips_rows_without_text_and_says_how_many(context: Context) -> None:
    context.pool.commit([row("old"), row("Name three towns by the sea.", accepted=True)])
    pruned(context)
    done = refilter(context, is_dry=False, show=lambda _: None, tell=lambda *_: None, stop=Stop(), build=well_formed)
    assert (done.difference.blanked, done.difference.rows, done.difference.changed_rows) == (1, 1, 0)
    assert done.difference.to_record()["without_text"] == 1
    assert context.pool.accepted_count() == 1


def well_formed(workspace: Workspace) -> Cascade:
    """Build a cascade that would refuse a row without text for another reason than the one it was refused for."""
    return build_cascade(workspace.config.filters, only=("wellformed",))


def test_a_person_cannot_accept_a_row_without_text(context: Context) -> None:
    context.pool.commit([row("old")])
    pruned(context)
    with pytest.raises(InputError, match="no text any more"):
        decide_row(context.pool, row("old").subject.id, accepted=True, note="")(None)


KILLED = """
import os, signal, shutil, sys, time
from pathlib import Path
from seedbed.service.context import writing
from seedbed.service.prune import prune
from seedbed.service.stopping import Stop
from seedbed.service.workspace import open_workspace

def look(_):
    print("page", flush=True)
    time.sleep(0.01)
    return False

class Telling(Stop):
    is_wanted = property(look, lambda *_: None)

if sys.argv[2] == "folder":
    shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
with writing(open_workspace(Path(sys.argv[1]))) as context:
    prune(context, is_dry=False, stop=Telling())
"""


def test_killed_while_it_removes_text_it_loses_nothing_and_goes_on(tmp_path: Path) -> None:
    a_workspace(tmp_path / "w")
    accepted = [row(f"kept {number}", accepted=True) for number in range(50)]
    with writing(open_workspace(tmp_path / "w")) as context:
        context.pool.commit([*accepted, *(row(f"refused {number}") for number in range(4000))])
    chance, left = random.Random(3), 4000
    for _ in range(3):
        killed_after(tmp_path / "w", pages=chance.randint(1, 2))
        with writing(open_workspace(tmp_path / "w")) as context:
            assert check(context.pool, context.workspace.snapshots) == []
            assert list(context.pool.accepted()) == [one.subject for one in accepted]
            still = sum(bool(one.instruction) for one in context.pool.candidates()) - 50
            assert 0 < still <= left
            left = still
    assert left < 4000
    with writing(open_workspace(tmp_path / "w")) as context:
        assert prune_now(context, Stop()).kinds["refused_rows"].items == left
        assert context.pool.counts().decided == 4050
        assert check(context.pool) == []


def killed_after(folder: Path, pages: int) -> None:
    command = [sys.executable, "-c", KILLED, str(folder), "text"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(pages + 1):
            assert process.stdout.readline() == "page\n"
        process.kill()


def test_killed_while_it_removes_a_folder_it_leaves_no_half_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    settings = create_workspace(folder, base_url="http://127.0.0.1:9/v1", model="none")
    text = (folder / "seedbed.toml").read_text()
    assert f"# snapshots = {settings.retention.snapshots}" in text
    (folder / "seedbed.toml").write_text(text.replace(f"# snapshots = {settings.retention.snapshots}", "snapshots = 1"))
    with writing(open_workspace(folder)) as context:
        old, newest = frozen(context, 0), frozen(context, 1)
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), "folder"], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    with writing(open_workspace(folder)) as context:
        assert check(context.pool, context.workspace.snapshots) == []
        assert not (context.workspace.snapshots / old.id).exists()
        prune(context, is_dry=False, stop=Stop())
        assert [path.name for path in context.workspace.snapshots.iterdir()] == [newest.id]


def test_disk_use_is_told_by_kind(context: Context) -> None:
    trained(context, 0, Promotion.HELD)
    (context.workspace.logs / "training-0000.log").write_bytes(b"x" * 1234)
    found = disk_use(context.workspace)
    assert (found["checkpoints"], found["adapters"]) == (500, 30)
    assert found["logs"] == 1234 + (context.workspace.logs / "events.jsonl").stat().st_size
    snapshot = next(context.workspace.snapshots.iterdir())
    assert found["snapshots"] == sum(path.stat().st_size for path in snapshot.iterdir())
    assert found["database"] >= (context.workspace.folder / "pool.sqlite3").stat().st_size
    assert (found["reports"], found["backups"]) == (0, 0)
    assert read_status(context.workspace, context.pool).disk == found


def test_disk_use_is_measured_again_after_a_while_only(context: Context) -> None:
    clock = [0.0]
    watch = DiskWatch(context.workspace, lambda: clock[0])
    before = watch.bytes_by_kind()["logs"]
    (context.workspace.logs / "more.log").write_bytes(b"x" * 1000)
    clock[0] = 29.0
    assert watch.bytes_by_kind()["logs"] == before
    clock[0] = 30.0
    assert watch.bytes_by_kind()["logs"] == before + 1000


@pytest.mark.parametrize(
    ("size", "told"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (3e12, "3.0 TB")]
)
def test_sizes_are_written_for_people(size: float, told: str) -> None:
    assert in_bytes(size) == told


def test_a_prune_is_told_for_people_and_for_machines(context: Context) -> None:
    trained(context, 0, Promotion.HELD)
    trained(context, 1, Promotion.HELD)
    done = prune(context, is_dry=True, stop=Stop(), now=lambda: NOW)
    snapshot = next(one for one in done.folders if one.startswith("snapshots/"))
    assert print_pruned(prune_record(done)).splitlines()[:4] == [
        "checkpoints: 1 would be removed, 500 bytes",
        f"snapshots: 1 would be removed, {in_bytes(done.kinds['snapshots'].bytes)}",
        "  adapters/round-0000/checkpoint",
        f"  {snapshot}",
    ]
    assert prune_record(done).model_dump(mode="json")["kinds"]["checkpoints"] == {"items": 1, "bytes": 500}
