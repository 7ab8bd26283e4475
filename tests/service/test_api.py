"""The thin HTTP service: health for all, the rest for who has this run's token."""

import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from seedbed.core.errors import ConfigError
from seedbed.core.files import read_json
from seedbed.core.records import Phase, Status
from seedbed.service.api import ACCESS_FILE, build_app, serving

TOKEN = "the-token-of-this-run"


def app_of(*, is_ready: bool = True) -> FastAPI:
    status = Status(phase=Phase.GENERATING, accepted=3, target=60, round=0, decided=9)
    return build_app(lambda: status, lambda: is_ready, TOKEN)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(app_of(), base_url="http://127.0.0.1") as client:
        yield client


def test_health_needs_no_token(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").status_code == 200


def test_alive_is_not_able() -> None:
    with TestClient(app_of(is_ready=False), base_url="http://127.0.0.1") as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503


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


@pytest.mark.parametrize("host", ["127.0.0.1:8377", "localhost:1", "[::1]:8377"])
def test_loopback_names_are_served(client: TestClient, host: str) -> None:
    answer = client.get("/v1/status", headers={"authorization": f"Bearer {TOKEN}", "host": host})
    assert answer.status_code == 200


def test_a_running_service_leaves_its_address_to_the_owner_alone_and_takes_it_back(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(app_of(), host="127.0.0.1", port=0, token=TOKEN, folder=tmp_path) as access:
            path = tmp_path / ACCESS_FILE
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert read_json(path) == {"url": access.url, "token": TOKEN}
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"{access.url}/v1/status", headers={"authorization": f"Bearer {TOKEN}"})
            assert answer.status_code == 200
        assert not path.exists()

    anyio.run(run)


def test_another_address_than_loopback_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(app_of(), host="0.0.0.0", port=0, token=TOKEN, folder=tmp_path):
            pass

    with pytest.raises(ConfigError, match="loopback"):
        anyio.run(run)
