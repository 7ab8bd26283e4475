"""Changes over HTTP and by hand: kept over a restart, done once under a key, and followed by every index."""

import re
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from seedbed.core.config import PoolConfig
from seedbed.core.events import Events
from seedbed.core.records import Candidate, Decider, Decision, Lineage, Phase, Status, Subject
from seedbed.filters.cascade import build_cascade
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided, IntentState
from seedbed.service.api import build_app
from seedbed.service.api_changes import Desk
from seedbed.service.context import Context, writing
from seedbed.service.control import Control
from seedbed.service.decider import DecisionThread
from seedbed.service.export import csv_lines
from seedbed.service.feed import Feed
from seedbed.service.guarding import COOKIE, Gate
from seedbed.service.hand_decisions import decide_row, on_indexes, quarantine
from seedbed.service.init import create_workspace
from seedbed.service.live import Live
from seedbed.service.stopping import Stop
from seedbed.service.workspace import open_workspace

TOKEN = "the-token-of-this-run"
STATUS = Status(phase=Phase.GENERATING, accepted=0, target=3, round=0, decided=0)
POEM = "Write a short poem about the colour of autumn leaves in a quiet park"


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    create_workspace(tmp_path / "w", base_url="http://127.0.0.1:9/v1", model="none")
    with writing(open_workspace(tmp_path / "w")) as opened:
        yield opened


@pytest.fixture
def client(context: Context) -> Iterator[TestClient]:
    feed = Feed(context.workspace.logs / "events.jsonl", STATUS.model_dump_json)
    desk = Desk(context, Live(), Control(context.pool, context.events, Stop()), feed)
    app = build_app(lambda: STATUS, lambda: "", Gate(TOKEN), context.pool, desk=desk, hosts=["box.example"])
    with TestClient(app, base_url="http://127.0.0.1") as opened:
        yield opened


BEARER = {"authorization": f"Bearer {TOKEN}"}


def row(instruction: str, *shown: str, model: str = "m") -> Candidate:
    lineage = Lineage(recipe="alpaca", demonstration_ids=shown, model=model)
    return Candidate.of(instruction, "", f"An answer: {instruction[::-1]}", lineage=lineage, requested_category="qa")


def store(pool: Pool, *rows: Candidate, accepted: bool = True) -> None:
    for one in rows:
        decision = Decision(
            subject=Subject.CANDIDATE, subject_id=one.id, sequence=0, accepted=accepted, verdicts=(), decided_at=1.0
        )
        pool.commit([Decided(one, decision)])


def test_what_is_wanted_outlives_a_restart(tmp_path: Path) -> None:
    async def want(pool: Pool) -> None:
        control = Control(pool, Events(), Stop())
        await control.set_state(IntentState.PAUSED)
        await control.set_target(41)

    with Pool.open(tmp_path, PoolConfig()) as pool:
        anyio.run(want, pool)
    with Pool.open(tmp_path, PoolConfig()) as pool:
        control = Control(pool, Events(), Stop())
        assert (control.intent.state, control.may_generate, control.limit(100)) == (IntentState.PAUSED, False, 41)


def test_a_pause_ends_the_generation_at_hand_and_a_cancel_the_training(tmp_path: Path) -> None:
    async def run(pool: Pool) -> None:
        control = Control(pool, Events(), Stop())
        with control.interrupting() as generation, control.cancelling() as training:
            await control.set_state(IntentState.PAUSED)
            assert (generation.is_wanted, training.is_wanted) == (True, False)
            store(pool, row(POEM))
            assert (await control.start_training()).round == 0
            await control.cancel_training(0)
            assert training.is_wanted

    with Pool.open(tmp_path, PoolConfig()) as pool:
        anyio.run(run, pool)


def test_a_request_that_comes_again_under_its_key_changes_nothing(client: TestClient, context: Context) -> None:
    store(context.pool, one := row(POEM))
    path, headers = f"/v1/pool/rows/{one.id}/refuse", {**BEARER, "idempotency-key": "a"}
    first = client.post(path, json={"note": "dull"}, headers=headers)
    again = client.post(path, json={"note": "dull"}, headers=headers)
    assert (first.status_code, again.json()) == (200, first.json())
    assert [(one.by, one.note) for one in context.pool.decisions(one.id)][1:] == [(Decider.PERSON, "dull")]
    assert client.post(path, json={"note": "other"}, headers=headers).status_code == 422
    assert check(context.pool) == []


def test_after_a_persons_decision_the_indexes_agree(context: Context) -> None:
    async def run() -> None:
        cascade = build_cascade(context.workspace.config.filters, held_out=())
        cascade.load((), context.pool.accepted())
        live = Live(decider=DecisionThread(cascade, context.pool))
        assert live.decider is not None
        twin = Candidate.of(POEM + ".", "", "Another answer altogether, of leaves", lineage=Lineage(recipe="alpaca"))
        try:
            await on_indexes(live, decide_row(context.pool, known.id, accepted=False, note=""))
            assert [one.accepted for one in await live.decider.decide([twin])] == [True]
            later = Candidate.of(POEM + "!", "", "A third answer, of wind", lineage=Lineage(recipe="alpaca"))
            assert [one.accepted for one in await live.decider.decide([later])] == [False]
            await on_indexes(live, decide_row(context.pool, later.id, accepted=True, note="fine"))
            await on_indexes(live, decide_row(context.pool, twin.id, accepted=False, note=""))
            last = Candidate.of(POEM + "?", "", "A fourth answer, of rain", lineage=Lineage(recipe="alpaca"))
            (decision,) = await live.decider.decide([last])
            assert decision.deciding is not None
            assert decision.deciding.neighbour_id == later.id
        finally:
            live.decider.close()

    store(context.pool, known := row(POEM))
    anyio.run(run)
    assert check(context.pool) == []


def test_all_that_descends_from_a_seed_is_quarantined_and_nothing_else(context: Context) -> None:
    child = row("Name three rivers of Europe and their lengths", "seed-1")
    grandchild = row("Explain how a canal lock lifts a boat", child.id)
    other = row("List the parts of a bicycle wheel in order", "seed-2")
    store(context.pool, child, grandchild, other)
    dry = quarantine(context.pool, "seed", "seed-1", note="", is_dry=True)(None)
    assert (dry.rows, context.pool.accepted_count()) == (2, 3)
    quarantine(context.pool, "seed", "seed-1", note="wrong", is_dry=False)(None)
    assert [one.id for one in context.pool.accepted()] == [other.id]


def test_a_login_link_opens_the_page_once_and_its_cookie_is_no_scripts(client: TestClient) -> None:
    path = client.post("/v1/login-links", headers=BEARER).json()["path"]
    opened = client.get(path, follow_redirects=False)
    cookie = opened.headers["set-cookie"]
    assert opened.status_code == 303
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict"))
    assert client.get("/").headers["content-security-policy"].count("'unsafe") == 0
    assert client.get("/page/page.js").status_code == 200
    assert client.post("/v1/control/pause").status_code == 403
    assert client.post("/v1/control/pause", headers={"origin": "http://127.0.0.1"}).json()["state"] == "paused"
    assert client.post("/v1/logout", headers={"origin": "http://127.0.0.1"}).status_code == 204
    client.cookies.clear()
    assert client.get(path, follow_redirects=False).status_code == 401
    assert client.get("/v1/status", headers={"cookie": f"{COOKIE}=x"}).status_code == 401


@pytest.mark.parametrize(("proxy", "is_secure"), [({}, False), ({"x-forwarded-proto": "https"}, True)])
def test_behind_a_proxy_with_tls_the_cookie_is_sent_over_tls_only(
    client: TestClient, proxy: dict[str, str], is_secure: bool
) -> None:
    path = client.post("/v1/login-links", headers=BEARER).json()["path"]
    cookie = client.get(path, headers=proxy, follow_redirects=False).headers["set-cookie"]
    assert ("secure" in cookie.lower().split("; ")) is is_secure


def test_only_hosts_of_the_list_are_answered(client: TestClient) -> None:
    for host, status in (("box.example", 200), ("box.example:8377", 200), ("evil.example", 421)):
        assert client.get("/v1/status", headers={**BEARER, "host": host}).status_code == status


def test_a_body_past_the_limit_is_refused(client: TestClient) -> None:
    answer = client.post("/v1/adapters/rollback", content=b" " * 1_000_001, headers=BEARER)
    assert answer.status_code == 413


def test_who_has_missed_events_gets_them_from_the_ring_or_from_what_is_stored(tmp_path: Path) -> None:
    stored = tmp_path / "events.jsonl"
    stored.write_text('{"at": 1.0, "kind": "old"}\n{"at": 3.0, "kind": "missed", "n": 7}\nhalf')
    events, feed = Events(now=lambda: 5.0), Feed(stored, lambda: "{}")
    events.add(feed)
    events.emit("first")
    events.emit("second")

    async def read(last_id: str, count: int) -> str:
        with anyio.fail_after(30):
            watch = feed.watch(last_id)
            parts = [await anext(watch) for _ in range(count)]
            await watch.aclose()  # type: ignore[attr-defined]
        return "".join(parts)

    assert '"second"' in (text := anyio.run(read, "5000-1", 2))
    assert '"first"' not in text
    assert '"missed"' in (text := anyio.run(read, "1000-9", 1))
    assert '"old"' not in text


def test_a_spreadsheet_runs_no_cell_of_an_export() -> None:
    lines = "".join(csv_lines(iter([row("=cmd|'/C calc'!A0"), row("@SUM(A1)"), row("plain words")])))
    assert "'=cmd" in lines
    assert "'@SUM" in lines
    assert "'plain" not in lines


def operations(client: TestClient) -> list[tuple[str, str]]:
    """Every method and path of the OpenAPI of a service that can be changed, parameters filled in."""
    app = client.app
    assert isinstance(app, FastAPI)
    paths = app.openapi()["paths"]
    return [(method, re.sub(r"{\w+}", "0", path)) for path, item in paths.items() for method in item]


def test_no_foreign_page_changes_anything_even_with_the_pages_cookie(client: TestClient, context: Context) -> None:
    before = context.pool.intent()
    code = client.post("/v1/login-links", headers=BEARER).json()["path"].partition("=")[2]
    assert client.get(f"/login?code={code}", follow_redirects=False).status_code == 303
    for method, path in operations(client):
        if method == "get":
            continue
        for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
            answer = client.request(method, path, headers={"origin": origin}, json={})
            assert answer.status_code in {401, 403}, (method, path, origin)
    assert context.pool.intent() == before
