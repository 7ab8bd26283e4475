"""The HTTP service: health for all, the rest for who has this run's token and is no foreign page."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.responses import Response

from seedbed.core.config import PoolConfig
from seedbed.core.errors import ConfigError, NotLeadingError, PoolFullError, PoolUnavailableError
from seedbed.core.files import read_json
from seedbed.core.records import Phase, Status
from seedbed.pool.pool import Pool
from seedbed.service.api import build_app, serving
from seedbed.service.guarding import REFUSAL_BURST, REFUSALS_PER_S, Gate, Guard
from seedbed.service.remote import ACCESS_FILE

TOKEN = "the-token-of-this-run"


def app_of(pool: Pool, *, not_ready: str = "") -> FastAPI:
    status = Status(phase=Phase.GENERATING, accepted=3, target=60, round=0, decided=9)
    return build_app(lambda: status, lambda: not_ready, TOKEN, pool)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Pool.open(tmp_path, PoolConfig(first_target=3, step=2), now=lambda: 5000.0) as opened:
        yield opened


@pytest.fixture
def client(pool: Pool) -> Iterator[TestClient]:
    with TestClient(app_of(pool), base_url="http://127.0.0.1") as client:
        yield client


def operations(app: FastAPI) -> list[tuple[str, str]]:
    """Return every method and path of the OpenAPI, and the OpenAPI's own; parameters hold a valid value."""
    paths = app.openapi()["paths"]
    found = [(method, re.sub(r"{\w+}", "0", path)) for path, item in paths.items() for method in item]
    return [*found, ("get", "/v1/openapi.json")]


def test_health_needs_no_token(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").status_code == 200


def test_alive_is_not_able(pool: Pool) -> None:
    with TestClient(app_of(pool, not_ready="its filters are being loaded"), base_url="http://127.0.0.1") as client:
        assert client.get("/healthz").status_code == 200
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"status": "not ready", "reason": "its filters are being loaded"}


@pytest.mark.parametrize("path", ["/v1/status", "/v1/openapi.json", "/v1/nothing", "/"])
@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {TOKEN}", TOKEN])
def test_every_other_route_needs_the_token(client: TestClient, path: str, header: str | None) -> None:
    headers = {"authorization": header} if header else {}
    answer = client.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_status_is_told_to_who_has_the_token(client: TestClient) -> None:
    answer = client.get("/v1/status", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.json()["accepted"] == 3
    assert answer.json()["phase"] == "generating"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8377", "127.0.0.1.evil.example", ""])
def test_another_hosts_name_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/v1/status", headers={"authorization": f"Bearer {TOKEN}", "host": host})
    assert answer.status_code == 421


def test_every_operation_is_refused_without_the_right_token_and_answered_with_it(pool: Pool) -> None:
    app = app_of(pool)
    asked = operations(app)
    assert len(asked) > 8
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for method, path in asked:
            is_open = path in {"/healthz", "/readyz"}
            for header in ({}, {"authorization": "Bearer wrong"}):
                assert (client.request(method, path, headers=header).status_code == 401) is not is_open, path
            answer = client.request(method, path, headers={"authorization": f"Bearer {TOKEN}"})
            assert answer.status_code in {200, 204, 404}, path


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1", 200),
        ("http://127.0.0.1:8377", 403),
        ("https://127.0.0.1", 403),
        ("http://evil.example", 403),
        ("http://[", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_only_a_page_of_the_service_itself_may_ask(client: TestClient, origin: str, status: int) -> None:
    headers = {"authorization": f"Bearer {TOKEN}", "origin": origin, "host": "127.0.0.1"}
    assert client.get("/v1/status", headers=headers).status_code == status


@pytest.mark.parametrize("path", ["/healthz", "/v1/status", "/v1/nothing"])
@pytest.mark.parametrize("token", ["wrong", TOKEN])
def test_every_answer_forbids_scripts_frames_and_caches(client: TestClient, path: str, token: str) -> None:
    answer = client.get(path, headers={"authorization": f"Bearer {token}"})
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_what_has_not_changed_is_not_sent_again(client: TestClient) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    first = client.get("/v1/status", headers=headers)
    again = client.get("/v1/status", headers={**headers, "if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/v1/status", headers={**headers, "if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("get", "/v1/nothing", 404), ("get", "/v1/runs/7", 404), ("get", "/v1/runs/x", 422), ("post", "/v1/status", 405)],
)
def test_every_error_is_a_problem(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path, headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code == status


@pytest.mark.parametrize("host", ["127.0.0.1:8377", "localhost:1", "[::1]:8377"])
def test_loopback_names_are_served(client: TestClient, host: str) -> None:
    answer = client.get("/v1/status", headers={"authorization": f"Bearer {TOKEN}", "host": host})
    assert answer.status_code == 200


def test_a_running_service_leaves_its_address_to_the_owner_alone_and_takes_it_back(pool: Pool, tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(app_of(pool), host="127.0.0.1", port=0, token=TOKEN, folder=tmp_path) as access:
            path = tmp_path / ACCESS_FILE
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert read_json(path) == {"url": access.url, "token": TOKEN}
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"{access.url}/v1/status", headers={"authorization": f"Bearer {TOKEN}"})
            assert answer.status_code == 200
        assert not path.exists()

    anyio.run(run)


def test_another_address_than_loopback_is_refused(pool: Pool, tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(app_of(pool), host="0.0.0.0", port=0, token=TOKEN, folder=tmp_path):
            pass

    with pytest.raises(ConfigError, match="loopback"):
        anyio.run(run)


def test_on_all_addresses_it_leaves_one_by_which_this_machine_reaches_it(pool: Pool, tmp_path: Path) -> None:
    async def run() -> None:
        where = serving(app_of(pool), host="0.0.0.0", port=0, token=TOKEN, folder=tmp_path, is_guarded=True)
        async with where as access, httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{access.url}/v1/status", headers={"authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200

    anyio.run(run)


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        (RuntimeError, 500, "the service failed at this request; its log tells why"),
        (NotLeadingError, 409, "another service leads this pool and makes its changes; ask that one"),
        (PoolUnavailableError, 503, "the pool cannot be read or written now; ask again in a while"),
        (PoolFullError, 503, "the pool cannot be read or written now; ask again in a while"),
    ],
)
def test_an_error_of_the_service_is_a_problem_without_details(
    pool: Pool, kind: type[Exception], status: int, said: str
) -> None:
    def fail() -> Status:
        raise kind("a secret in /a/path")

    app = build_app(fail, lambda: "", TOKEN, pool)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        answer = client.get("/v1/status", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["status"], answer.json()["detail"]) == (status, said)
    assert (answer.headers.get("retry-after") is not None) is (status == 503)
    assert "secret" not in answer.text
    assert "/a/path" not in answer.text


def test_who_tries_tokens_is_slowed_down_and_who_has_it_is_not() -> None:
    now = [0.0]
    client = TestClient(Guard(Response("ok"), Gate(TOKEN), now=lambda: now[0]), base_url="http://127.0.0.1")
    asked = [client.get("/v1/status", headers={"authorization": f"Bearer {number}"}) for number in range(205)]
    assert [answer.status_code for answer in asked] == [401] * int(REFUSAL_BURST) + [429] * (205 - int(REFUSAL_BURST))
    assert client.get("/v1/status", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    now[0] = 1.0
    again = [client.get("/v1/status").status_code for _ in range(10)]
    assert again == [401] * int(REFUSALS_PER_S) + [429] * (10 - int(REFUSALS_PER_S))
