"""Promoting and rolling back: the adapter that was named is the one in service, and the file says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbed.core.errors import InputError
from seedbed.core.files import read_json
from seedbed.core.records import Adapter
from seedbed.service.context import Context, writing
from seedbed.service.in_service import IN_SERVICE
from seedbed.service.init import create_workspace
from seedbed.service.promotion import in_service, promote, roll_back
from seedbed.service.workspace import open_workspace


def adapter(round: int, *, is_tainted: bool = False) -> Adapter:
    name = f"round-{round:04d}"
    return Adapter(
        id=name,
        round=round,
        snapshot_id="s",
        base="b",
        base_sha256="0" * 64,
        path=f"adapters/{name}/adapter",
        is_tainted=is_tainted,
        created_at=0.0,
    )


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    create_workspace(tmp_path / "w", base_url="http://127.0.0.1:9/v1", model="m")
    with writing(open_workspace(tmp_path / "w")) as context:
        for number in range(3):
            context.pool.add_adapter(adapter(number))
        yield context


def served(context: Context) -> tuple[str, object]:
    current = in_service(context.pool.adapters())
    named = read_json(context.workspace.adapters / IN_SERVICE)["in_service"]
    return (current.id if current else "", named and named["adapter"])


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (2, 0, 1)])
def test_the_adapter_promoted_last_is_in_service_whatever_its_round(context: Context, order: tuple[int, ...]) -> None:
    for number in order:
        promote(context, adapter(number), "by hand")
        assert served(context) == (f"round-{number:04d}", f"round-{number:04d}")


def test_rolling_back_brings_the_one_before_and_then_the_base_alone(context: Context) -> None:
    promote(context, adapter(0), "better")
    promote(context, adapter(1), "better")
    roll_back(context, "worse after all")
    assert served(context) == ("round-0000", "round-0000")
    assert roll_back(context, "that too") is None
    assert served(context) == ("", None)
    with pytest.raises(InputError, match="nothing to roll back"):
        roll_back(context, "again")


def test_a_tainted_adapter_is_not_promoted(context: Context) -> None:
    with pytest.raises(InputError, match="tainted"):
        promote(context, adapter(2, is_tainted=True), "by hand")
    assert in_service(context.pool.adapters()) is None
