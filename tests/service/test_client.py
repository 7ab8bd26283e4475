"""The client against a real server: every route has a method, answers come as records, refusals as one error."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from seedbed.core.errors import ServiceError, ServiceUnreachableError
from seedbed.pool.records import IntentState
from seedbed.service.client import Client
from tests.service.running_service import ROWS, TOKEN, Running, row, running_service


class Watched(httpx.HTTPTransport):
    """A transport that remembers what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method.lower(), request.url.path))
        return super().handle_request(request)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    with running_service(tmp_path / "w") as running:
        yield running


@pytest.fixture
def client(service: Running) -> Iterator[Client]:
    with Client(service.url, TOKEN) as opened:
        yield opened


def test_every_route_of_the_openapi_has_a_method_that_reads_its_answer(service: Running, tmp_path: Path) -> None:
    known, new = row(next(iter(ROWS))), row(list(ROWS)[-1])
    rows, exam = tmp_path / "rows.jsonl", tmp_path / "exam.jsonl"
    rows.write_text(
        json.dumps({"instruction": "Why is the sky blue", "output": "Air scatters blue light most."}) + "\n"
    )
    exam.write_text(json.dumps({"question": list(ROWS)[2]}) + "\n")
    watched = Watched()
    with Client(service.url, TOKEN, transport=watched) as client:
        assert client.is_alive()
        assert client.is_ready()
        assert client.readiness().reason == ""
        assert client.status().accepted == 4
        assert client.diversity().kept is not None
        assert client.history().samples == ()
        assert client.settings().settings
        assert "seedbed_accepted" in client.metrics()
        assert next(client.events()).startswith("retry")
        assert client.intent().state is IntentState.RUNNING
        assert client.control("pause", key="a").state is IntentState.PAUSED
        assert client.set_target(50).target == 50
        assert client.set_concurrency(3).concurrency == 3
        assert client.set_budget(7, None).max_tokens == 7
        assert client.set_shares({"open_qa": 0.5}).done == {"shares": {"open_qa": 0.5}}
        assert [one.candidate.id for one in client.rows(state="refused", limit=1).rows] == [new.id]
        assert client.row(known.id).decisions[0].accepted
        assert client.refuse(known.id, "dull").note == "dull"
        assert client.accept(new.id).accepted
        assert client.quarantine("model", "small").rows == 4
        assert client.import_rows(rows).rows == 1
        assert client.funnel().decided == 7
        assert client.spread().looked_at == 7
        assert client.unreadable() == []
        assert client.export(tmp_path / "out.jsonl") == (tmp_path / "out.jsonl").stat().st_size > 0
        assert client.promote("round-0001").done["adapter"] == "round-0001"
        assert client.roll_back().done["adapter"] == ""
        assert client.add_reference("exam", exam).quarantined == 1
        assert [one.name for one in client.references()] == ["exam"]
        assert client.rescan().quarantined == 0
        (snapshot,) = client.snapshots()
        assert client.snapshot(snapshot.id) == snapshot
        assert client.start_training().round == 1
        assert client.cancel_training(1).round == 1
        assert len(client.runs()) == 2
        assert client.run(0).run.adapter_id == "round-0000"
        assert [point.loss for point in client.loss(0).points] == [1.5, 1.25]
        assert client.log(0).text.endswith("step 2\n")
        assert [one.id for one in client.adapters()] == ["round-0000", "round-0001"]
        assert client.answers("round-0000").answers == ()
        assert client.reports() == []
        assert client.evaluate("round-0001").state == "waiting"
        assert client.prune().kinds["refused_rows"].items > 0
        assert client.freeze().round == 2
        assert client.login_link().path.startswith("/login?code=")
        client.logout()
        told = client.openapi()["paths"]
    patterns = {
        (method, path): re.compile(re.sub(r"{\w+}", "[^/]+", path)) for path, item in told.items() for method in item
    }
    unasked = [
        one
        for one, pattern in patterns.items()
        if not any(method == one[0] and pattern.fullmatch(path) for method, path in watched.asked)
    ]
    assert unasked == []
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    assert [one for one in patterns if f"`{one[0].upper()} {one[1]}` " not in page] == []


def test_a_refusal_carries_the_problem(client: Client) -> None:
    with pytest.raises(ServiceError) as refused:
        client.row("unknown")
    assert (refused.value.status, refused.value.title, refused.value.exit_code) == (404, "not found", 2)
    assert str(refused.value) == "there is no row unknown"


@pytest.mark.parametrize("name", ["../../status", "a/b", "..", "%2e%2e", "?x=1", "#"])
def test_a_name_stays_one_part_of_the_path(client: Client, name: str) -> None:
    with pytest.raises(ServiceError) as refused:
        client.row(name)
    assert refused.value.status in {404, 405, 422}


def test_a_wrong_token_is_told_and_stands_in_no_message(service: Running) -> None:
    with Client(service.url, "secret-token") as client, pytest.raises(ServiceError) as refused:
        client.status()
    assert refused.value.status == 401
    assert "secret-token" not in str(refused.value) + repr(refused.value)


def test_where_nobody_answers_that_is_said() -> None:
    with Client("http://127.0.0.1:9", TOKEN) as client, pytest.raises(ServiceUnreachableError, match=r"127\.0\.0\.1:9"):
        client.status()


def test_a_change_is_done_once_under_its_key(client: Client, service: Running) -> None:
    identity = row(next(iter(ROWS))).id
    assert client.refuse(identity, key="one") == client.refuse(identity, key="one")
    assert len(service.context.pool.decisions(identity)) == 2
