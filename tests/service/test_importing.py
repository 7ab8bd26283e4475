"""An existing set over HTTP: decided by the cascade or by hand, in the order of its lines, bad lines told by number."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from seedbed.core.records import Candidate, Decider, Lineage
from seedbed.pool.check import check
from seedbed.service import guarding
from tests.service.running_service import ROWS, TOKEN, Running, running_service

HEADERS = {"authorization": f"Bearer {TOKEN}"}
NEW = {"instruction": "How many legs does a spider have", "output": "It has eight legs.", "category": "open_qa"}
TWIN = {"instruction": "How many legs does a spider have?", "output": "Eight of them.", "category": "open_qa"}
ALIEN = {"instruction": "Why do cats purr when they rest", "output": "Often since they are content.", "category": "zoo"}
CHAT = {
    "messages": [
        {"role": "user", "content": "Who wrote the play Hamlet"},
        {"role": "assistant", "content": "Shakespeare did."},
    ]
}


@pytest.fixture(params=[True, False], ids=["while rows are generated", "while none are"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    with running_service(tmp_path / "w", is_generating=request.param) as running:
        yield running


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def send(service: Running, body: bytes, **more: str) -> dict[str, Any]:
    url = f"{service.url}/v1/pool/import"
    answer = httpx.post(url, content=body, params=more, headers=HEADERS, timeout=120, trust_env=False)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def identity(row: dict[str, Any]) -> str:
    return Candidate.of(row["instruction"], row.get("input", ""), row["output"], lineage=Lineage(recipe="x")).id


def test_the_cascade_decides_in_order_and_a_twin_is_refused(service: Running) -> None:
    known = {"instruction": next(iter(ROWS)), "output": ROWS[next(iter(ROWS))]}
    body = lines(NEW) + b"{no json}\n\n" + lines(TWIN, {"instruction": "", "output": "x"}, known, ALIEN, CHAT) + b"[1]"
    told = send(service, body)
    assert told["accepted"] == 2
    assert told["refused"] == {"rouge.near_duplicate": 1, "duplicate.seen_before": 1, "import.unverified_category": 1}
    assert (told["rows"], told["waiting"], told["malformed_lines"]) == (5, 1, 3)
    assert [one["line"] for one in told["malformed"]] == [2, 5, 9]
    pool = service.context.pool
    decisions = pool.decisions(identity(TWIN))
    assert decisions[0].deciding is not None
    assert decisions[0].deciding.neighbour_id == identity(NEW)
    assert pool.decisions(identity(NEW))[0].by is Decider.CASCADE
    assert pool.candidate(identity(NEW)).lineage.recipe == "import"  # type: ignore[union-attr]
    assert check(pool) == []


def test_by_hand_all_are_accepted_and_marked_so_and_the_indexes_follow(service: Running) -> None:
    told = send(service, lines(NEW, TWIN, NEW, ALIEN), decide="by_hand", note="our own set")
    assert (told["accepted"], told["waiting"]) == (2, 1)
    assert told["refused"] == {"import.unverified_category": 1, "duplicate.seen_before": 1}
    (decision,) = service.context.pool.decisions(identity(TWIN))
    assert (decision.accepted, decision.by, decision.note) == (True, Decider.PERSON, "our own set")
    third = {**NEW, "instruction": "How many legs does a spider have!", "output": "There are eight."}
    assert send(service, lines(third))["refused"] == {"rouge.near_duplicate": 1}
    assert check(service.context.pool) == []


def test_importing_again_changes_nothing(service: Running) -> None:
    first = send(service, lines(NEW, TWIN, ALIEN))
    before = service.context.pool.counts()
    again = send(service, lines(NEW, TWIN, ALIEN))
    after = service.context.pool.counts()
    assert (first["accepted"], again["accepted"]) == (1, 0)
    assert again["refused"] == {"duplicate.seen_before": 3}
    assert (after.decided, after.accepted, after.refused) == (before.decided, before.accepted, before.refused)


def test_a_set_larger_than_other_bodies_is_taken_and_one_past_its_own_limit_is_not(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"instruction": f"Say the number {number} in words", "output": "x" * 900, "category": "none of ours"}
        for number in range(1100)
    ]
    assert len(lines(*rows)) > guarding.MAX_BODY_BYTES
    assert send(service, lines(*rows))["waiting"] == 1100
    monkeypatch.setitem(guarding.UPLOADS, "/v1/pool/import", 10_000)
    url = f"{service.url}/v1/pool/import"
    answer = httpx.post(url, content=lines(*rows[:20]), headers=HEADERS, timeout=60, trust_env=False)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert not list(service.context.workspace.folder.glob(".upload-*"))


def test_accepted_rows_come_as_parquet(service: Running) -> None:
    answer = httpx.get(f"{service.url}/v1/export?form=parquet", headers=HEADERS, timeout=60, trust_env=False)
    table = pq.read_table(io.BytesIO(answer.content))
    accepted = {row.instruction: row.output for row in service.context.pool.accepted()}
    assert dict(zip(table["instruction"].to_pylist(), table["output"].to_pylist(), strict=True)) == accepted
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
