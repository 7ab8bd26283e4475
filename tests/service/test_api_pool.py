"""Rows over HTTP: pages that lose and repeat nothing, filters, one row with its verdicts."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.core.config import PoolConfig
from seedbed.core.records import Candidate, Decision, Lineage, Phase, Status, Subject, Verdict
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from seedbed.service.api import build_app


def decided(number: int, *, accepted: bool, category: str = "qa", neighbour_id: str | None = None) -> Decided:
    lineage = Lineage(recipe="alpaca")
    row = Candidate.of(f"Task {number}", "", "<script>alert(1)</script>", lineage=lineage, requested_category=category)
    reason = "" if accepted else "near_duplicate"
    verdict = Verdict(filter="rouge", accepted=accepted, reason=reason, neighbour_id=neighbour_id)
    decision = Decision(
        subject=Subject.CANDIDATE, subject_id=row.id, sequence=0, accepted=accepted, verdicts=(verdict,), decided_at=1.0
    )
    return Decided(row, decision)


def client_of(pool: Pool) -> TestClient:
    status = Status(phase=Phase.GENERATING, accepted=0, target=3, round=0, decided=0)
    app = build_app(lambda: status, lambda: "", "t", pool)
    return TestClient(app, base_url="http://127.0.0.1", headers={"authorization": "Bearer t"})


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Pool.open(tmp_path, PoolConfig(first_target=100)) as opened:
        yield opened


def walk(client: TestClient, limit: int, **wanted: str) -> Iterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    while True:
        answer = client.get("/v1/pool/rows", params={"limit": limit, **wanted, **cursor})
        page = answer.raise_for_status().json()
        assert len(page["rows"]) <= limit
        yield from page["rows"]
        if page["next"] is None:
            return
        assert page["next"] != cursor.get("cursor"), "the walk stands still"
        cursor = {"cursor": page["next"]}


def ids(rows: Iterator[dict[str, Any]]) -> list[str]:
    return [row["candidate"]["id"] for row in rows]


@settings(max_examples=15, deadline=None)
@given(standings=st.lists(st.booleans(), max_size=12), limit=st.integers(1, 5), late=st.integers(0, 3))
def test_a_walk_gives_each_row_once_newest_first_whatever_arrives_meanwhile(
    standings: list[bool], limit: int, late: int
) -> None:
    with TemporaryDirectory() as folder, Pool.open(Path(folder), PoolConfig(first_target=100)) as pool:
        rows = [decided(number, accepted=accepted) for number, accepted in enumerate(standings)]
        if rows:
            pool.commit(rows)
        expected = [one.subject.id for one in reversed(rows)]
        accepted = [one.subject.id for one in reversed(rows) if one.decision.accepted]
        client = client_of(pool)
        assert ids(walk(client, limit, state="accepted")) == accepted
        walked = walk(client, limit)
        seen = ids(one for one in [next(walked, None)] if one)
        if late:
            pool.commit([decided(1000 + number, accepted=True) for number in range(late)])
        assert seen + ids(walked) == (expected if seen else [])


def test_rows_are_listed_by_reason_and_category(pool: Pool) -> None:
    wanted = decided(1, accepted=False, category="code")
    pool.commit([wanted, decided(2, accepted=False), decided(3, accepted=True, category="code")])
    found = list(walk(client_of(pool), 10, reason="near_duplicate", filter="rouge", category="code", state="refused"))
    assert [(row["candidate"]["id"], row["filter"], row["reason"]) for row in found] == [
        (wanted.subject.id, "rouge", "near_duplicate")
    ]


def test_a_refused_row_is_shown_with_its_verdict_and_neighbour(pool: Pool) -> None:
    first = decided(1, accepted=True)
    second = decided(2, accepted=False, neighbour_id=first.subject.id)
    pool.commit([first, second])
    shown = client_of(pool).get(f"/v1/pool/rows/{second.subject.id}").raise_for_status().json()
    assert shown["subject"]["instruction"] == "Task 2"
    assert shown["decisions"][0]["verdicts"][0]["reason"] == "near_duplicate"
    assert shown["neighbour"]["id"] == first.subject.id


@pytest.mark.parametrize("identity", ["unknown", "0"])
def test_an_unknown_row_is_not_found(pool: Pool, identity: str) -> None:
    pool.commit([decided(number, accepted=True) for number in range(40)])
    assert client_of(pool).get(f"/v1/pool/rows/{identity}").status_code == 404


@pytest.mark.parametrize("path", ["..%2F..%2Fetc%2Fpasswd", "..%5Cpool", "%00", "a%0A", "é", "x" * 65])
def test_what_is_no_id_reaches_nothing(pool: Pool, path: str) -> None:
    assert client_of(pool).get(f"/v1/pool/rows/{path}").status_code in {404, 422}


@pytest.mark.parametrize("cursor", ["", "x", "====", "é", "n9", f"n{2**63}", "n-1", "7", "n٣"])
def test_a_cursor_of_somebody_else_is_refused_unless_it_is_well_formed(pool: Pool, cursor: str) -> None:
    answer = client_of(pool).get("/v1/pool/rows", params={"cursor": cursor})
    assert answer.status_code == (200 if cursor == "n9" else 422)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "state=maybe", "filter=a/b", "reason=" + "x" * 65])
def test_a_wrong_question_is_a_problem_that_names_the_parameter(pool: Pool, query: str) -> None:
    answer = client_of(pool).get(f"/v1/pool/rows?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json()["detail"]
