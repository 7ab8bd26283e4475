"""References added over HTTP: what is in and overlaps goes, what comes later meets them, and the indexes follow."""

import json
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest

from seedbed.core.records import Decider
from seedbed.pool.check import check
from tests.service.running_service import ROWS, TOKEN, Running, row, running_service

HEADERS = {"authorization": f"Bearer {TOKEN}"}
PLANTED = next(iter(ROWS))
LATER = "Which two colours of paint must be mixed to make a bright green for the garden fence this spring"


@pytest.fixture(params=[True, False], ids=["while rows are generated", "while none are"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    with running_service(tmp_path / "w", is_generating=request.param) as running:
        yield running


def exam(*texts: str) -> bytes:
    return b"".join(json.dumps({"question": text}).encode() + b"\n" for text in texts)


def put(service: Running, name: str, body: bytes, **more: str) -> httpx.Response:
    url = f"{service.url}/v1/references/{name}"
    return httpx.put(url, content=body, params=more, headers=HEADERS, timeout=120, trust_env=False)


def test_an_overlapping_row_is_quarantined_and_the_next_meets_the_reference(service: Running) -> None:
    told = put(service, "exam", exam(PLANTED, LATER), fields="question").raise_for_status().json()
    assert (told["scanned"], told["quarantined"], told["by_reference"]) == (4, 1, {"exam": 1})
    assert told["references"][0]["file"] == "references/exam.jsonl"
    assert {one["id"] for one in told["adapters"]["tainted"]} == {"round-0000", "round-0001"}
    last = service.context.pool.decisions(row(PLANTED).id)[-1]
    assert (last.accepted, last.by) == (False, Decider.RESCAN)
    assert check(service.context.pool) == []
    listed = httpx.get(f"{service.url}/v1/references", headers=HEADERS, trust_env=False).json()
    assert [(one["name"], one["fields"]) for one in listed] == [("exam", ["question"])]
    if service.live.decider is None:
        return
    (met,) = anyio.run(service.live.decider.decide, [row(LATER)])
    assert met.deciding is not None
    assert (met.deciding.filter, met.deciding.neighbour_id) == ("contamination", "exam/2")


def test_a_row_that_was_taken_out_is_no_neighbour_any_more(tmp_path: Path) -> None:
    like = row("Name the three largest rivers of Europe in order of length", model="other")
    for is_added in (False, True):
        with running_service(tmp_path / str(is_added)) as service:
            assert service.live.decider is not None
            if is_added:
                put(service, "exam", exam(PLANTED)).raise_for_status()
            (decision,) = anyio.run(service.live.decider.would_pass, [like])
            assert decision is is_added


def test_rescanning_finds_what_was_put_into_the_folder_by_hand(service: Running) -> None:
    (service.context.workspace.folder / "references" / "by-hand.jsonl").write_bytes(exam(PLANTED))
    url = f"{service.url}/v1/rescan"
    told = httpx.post(url, headers=HEADERS, timeout=120, trust_env=False).raise_for_status().json()
    assert (told["quarantined"], told["by_reference"]) == (1, {"by-hand": 1})
    again = httpx.post(url, headers=HEADERS, timeout=120, trust_env=False).raise_for_status().json()
    assert (again["scanned"], again["quarantined"]) == (3, 0)


@pytest.mark.parametrize("name", ["..%2Fpool", "Exam", "a.b", "", "x" * 65])
def test_a_name_that_is_none_reaches_no_file(service: Running, name: str) -> None:
    assert put(service, name, exam(LATER)).status_code in {404, 405, 422}
    assert list((service.context.workspace.folder / "references").iterdir()) == []


def test_what_cannot_be_read_is_refused_and_leaves_nothing(service: Running) -> None:
    for body, form in ((b"{no", "jsonl"), (b"PAR1", "parquet"), (b"\xff\xfe", "csv")):
        answer = put(service, "broken", body, form=form)
        assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
        assert str(service.context.workspace.folder) not in answer.text
    assert list((service.context.workspace.folder / "references").iterdir()) == []
