"""Which snapshots there are."""

from pathlib import Path

from seedbed.core.files import write_json
from seedbed.core.records import Snapshot
from seedbed.core.snapshots import MANIFEST, frozen_snapshots


def manifest(identity: str, created_at: float) -> dict[str, object]:
    snapshot = Snapshot(
        id=identity,
        round=0,
        train_rows=1,
        val_rows=0,
        categories={},
        held_out_categories=(),
        files={},
        config_fingerprint="f",
        created_at=created_at,
        seedbed_version="0",
    )
    return snapshot.model_dump(mode="json")


def test_finished_snapshots_are_listed_and_what_is_being_written_or_removed_is_not(tmp_path: Path) -> None:
    write_json(tmp_path / "later" / MANIFEST, manifest("later", 2.0))
    write_json(tmp_path / "earlier" / MANIFEST, manifest("earlier", 1.0))
    write_json(tmp_path / ".pruned-old" / MANIFEST, manifest("old", 0.0))
    (tmp_path / "begun").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / MANIFEST).write_text("{")
    write_json(tmp_path / "other" / MANIFEST, {"id": "other"})
    assert [one.id for one in frozen_snapshots(tmp_path)] == ["earlier", "later"]
    assert frozen_snapshots(tmp_path / "none") == []
