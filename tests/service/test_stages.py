"""Stages by hand, through a service that runs: freeze, evaluate, prune."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from seedbed.core.reports import EvalReport, PromotionDecision
from seedbed.core.snapshots import read_examples
from seedbed.pool.check import check
from seedbed.service.evaluations import asked_for
from tests.service.running_service import ROWS, TOKEN, Running, row, running_service

BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    with running_service(tmp_path / "w") as running:
        yield running


@pytest.fixture
def client(service: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, headers=BEARER, trust_env=False, timeout=None) as opened:
        yield opened


def test_a_freeze_has_every_accepted_row_once(service: Running, client: httpx.Client) -> None:
    added = list(ROWS)[4]
    client.post(f"/v1/pool/rows/{row(added).id}/accept", json={})
    frozen = client.post("/v1/snapshots").json()
    folder = service.context.workspace.snapshots / frozen["id"]
    rows = [one for part in ("train", "val") for one in read_examples(folder, part)]
    assert sorted(one.instruction for one in rows) == sorted([*list(ROWS)[:4], added])
    assert (frozen["round"], frozen["train_rows"] + frozen["val_rows"]) == (1, 5)
    assert client.post("/v1/snapshots").json() == frozen
    assert [one["id"] for one in client.get("/v1/snapshots").json()].count(frozen["id"]) == 1


def test_a_freeze_of_nothing_is_refused_with_the_reason(service: Running, client: httpx.Client) -> None:
    for one in list(ROWS)[:4]:
        client.post(f"/v1/pool/rows/{row(one).id}/refuse", json={})
    refused = client.post("/v1/snapshots", headers={"idempotency-key": "a"})
    assert (refused.status_code, "nothing to freeze" in refused.json()["detail"]) == (409, True)
    client.post(f"/v1/pool/rows/{row(next(iter(ROWS))).id}/accept", json={})
    assert client.post("/v1/snapshots", headers={"idempotency-key": "a"}).status_code == 200


def test_a_snapshot_that_was_changed_is_told_of_without_where_the_workspace_lies(
    service: Running, client: httpx.Client
) -> None:
    frozen = client.post("/v1/snapshots").json()
    (service.context.workspace.snapshots / frozen["id"] / "train.jsonl").write_text("{}\n")
    told = client.post("/v1/snapshots").json()["detail"]
    assert told.startswith(f"snapshots/{frozen['id']}/train.jsonl was changed")


@contextmanager
def held(service: Running) -> Iterator[None]:
    """Hold the lock of snapshots while the block runs, as a round that freezes does."""
    is_held, over = threading.Event(), list[anyio.Event]()

    async def hold() -> None:
        over.append(anyio.Event())
        async with service.context.snapshots_lock:
            is_held.set()
            await over[0].wait()

    async def let_go() -> None:
        over[0].set()

    thread = threading.Thread(target=service.within, args=(hold,))
    thread.start()
    is_held.wait()
    yield
    service.within(let_go)
    thread.join()


def test_a_freeze_and_a_prune_wait_for_nobody(service: Running, client: httpx.Client) -> None:
    with held(service):
        for path, body in (("/v1/snapshots", None), ("/v1/pool/prune", {"dry_run": True})):
            answer = client.post(path, json=body)
            assert (answer.status_code, "is running; wait" in answer.json()["detail"]) == (409, True)
    assert client.post("/v1/snapshots").status_code == 200


def test_a_prune_removes_what_its_dry_run_told_and_does_so_once(service: Running, client: httpx.Client) -> None:
    pool, refused = service.context.pool, [row(one) for one in list(ROWS)[4:]]
    texts = sum(len(f"{one.instruction}{one.input}{one.output}".encode()) for one in refused)
    dry = client.post("/v1/pool/prune", json={}).json()
    assert dry["kinds"]["refused_rows"] == {"items": 2, "bytes": texts}
    assert (dry["dry_run"], dry["bytes"], dry["was_stopped"]) == (True, texts, False)
    assert not [one for one in refused if pool.candidate(one.id).is_blanked]  # type: ignore[union-attr]
    done = client.post("/v1/pool/prune", json={"dry_run": False}, headers={"idempotency-key": "a"}).json()
    assert done == {**dry, "dry_run": False}
    assert len([one for one in refused if pool.candidate(one.id).is_blanked]) == 2  # type: ignore[union-attr]
    assert client.post("/v1/pool/prune", json={"dry_run": False}, headers={"idempotency-key": "a"}).json() == done
    assert client.post("/v1/pool/prune", json={"dry_run": False}).json()["bytes"] == 0
    assert check(pool, service.context.workspace.snapshots) == []
    listed = client.get("/v1/pool/rows?state=refused").json()["rows"]
    assert [one["is_blanked"] for one in listed] == [True, True]
    assert client.get(f"/v1/pool/rows/{refused[0].id}").json()["is_blanked"] is True
    assert client.get(f"/v1/pool/rows/{row(next(iter(ROWS))).id}").json()["is_blanked"] is False


def test_an_evaluation_is_stored_until_somebody_does_it_and_answered_by_its_report_afterwards(
    service: Running, client: httpx.Client
) -> None:
    with service.desk.control.interrupting() as generation:
        asked = client.post("/v1/adapters/round-0001/evaluate").json()
        assert generation.is_wanted
    assert asked == {"adapter_id": "round-0001", "state": "waiting", "report": None}
    assert asked_for(service.context.pool) == ["round-0001"]
    report = EvalReport(
        adapter_id="round-0001",
        snapshot_id="s",
        base_sha256="0" * 64,
        held_out_categories=("qa",),
        scores=(),
        differences=(),
        decision=PromotionDecision.HOLD_WORSE,
        reason="worse",
        created_at=5.0,
    )
    service.context.pool.add_report(report)
    done = client.post("/v1/adapters/round-0001/evaluate").json()
    assert (done["state"], EvalReport.model_validate(done["report"])) == ("done", report)
    assert client.post("/v1/adapters/round-0009/evaluate").status_code == 404


def test_what_was_done_by_hand_is_told(service: Running, client: httpx.Client) -> None:
    for path in ("/v1/snapshots", "/v1/adapters/round-0000/evaluate"):
        client.post(path)
    client.post("/v1/pool/prune", json={"dry_run": False})
    lines = (service.context.workspace.logs / "events.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert {"snapshot.frozen", "control.evaluation", "pool.pruned"} <= set(kinds)
