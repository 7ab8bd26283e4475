"""Hostile requests: names that would lead out of the workspace, and foreign pages that listen to the events."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from seedbed.core.records import Phase, Status
from seedbed.service.api import build_app, serving
from seedbed.service.api_changes import Desk
from seedbed.service.context import Context, writing
from seedbed.service.control import Control
from seedbed.service.feed import Feed
from seedbed.service.guarding import COOKIE, Gate
from seedbed.service.init import create_workspace
from seedbed.service.live import Live
from seedbed.service.stopping import Stop
from seedbed.service.workspace import open_workspace

TOKEN = "the-token-of-this-run"
BEARER = {"authorization": f"Bearer {TOKEN}"}
STATUS = Status(phase=Phase.GENERATING, accepted=0, target=3, round=0, decided=0)
KEPT_FROM_ALL = "what no request may read"
TRAVERSAL = (
    "..",
    ".",
    "../outside.txt",
    "../../outside.txt",
    "../manifest.json",
    "..\\outside.txt",
    "....//outside.txt",
    "..;/outside.txt",
    "/etc/passwd",
    "//etc/passwd",
    "C:\\outside.txt",
    "\\\\host\\share",
    "file:///etc/passwd",
    "%2e%2e%2foutside.txt",
    "%252e%252e%252foutside.txt",
    "..%c0%afoutside.txt",
    "..%u2215outside.txt",
    "\uff0e\uff0e\uff0foutside.txt",
    "..\u2215outside.txt",
    "outside.txt\x00",
    "x\x00.json",
    "x\n",
    "\nx",
    "x\r\nset-cookie: a=b",
    "~root",
    "$HOME",
    "`id`",
    "*",
    "x/../../outside.txt",
    "seedbed.toml",
    "service.json",
    "pool.sqlite3",
    "ROUND_0000",
    "round 0000",
    "é",
    "a" * 65,
    " ",
)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    (tmp_path / "outside.txt").write_text(KEPT_FROM_ALL)
    create_workspace(tmp_path / "w", base_url="http://127.0.0.1:9/v1", model="none")
    with writing(open_workspace(tmp_path / "w")) as opened:
        for folder in (opened.workspace.folder, opened.workspace.snapshots, opened.workspace.logs):
            folder.mkdir(exist_ok=True)
            (folder / "outside.txt").write_text(KEPT_FROM_ALL)
        yield opened


@pytest.fixture
def app(context: Context) -> FastAPI:
    feed = Feed(context.workspace.logs / "events.jsonl", STATUS.model_dump_json)
    desk = Desk(context, Live(), Control(context.pool, context.events, Stop()), feed)
    return build_app(lambda: STATUS, lambda: "", Gate(TOKEN), context.pool, desk=desk)


def named(app: FastAPI) -> list[tuple[str, str, dict[str, Any]]]:
    """Every method and path that has a parameter in the path, with the schemas of these."""
    found = []
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            parameters = operation.get("parameters", ())
            schemas = {one["name"]: one["schema"] for one in parameters if one["in"] == "path"}
            if schemas:
                found.append((method, path, schemas))
    return found


def test_every_name_in_a_path_is_an_id_by_its_schema(app: FastAPI) -> None:
    routes = named(app)
    assert len(routes) >= 10
    for method, path, schemas in routes:
        for name, schema in schemas.items():
            if schema["type"] == "integer":
                continue
            takes = schema.get("pattern") or "^(" + "|".join(map(re.escape, schema["enum"])) + ")$"
            for payload in TRAVERSAL:
                assert not re.search(takes.replace("$", r"\Z"), payload), (method, path, name, payload)


def test_no_name_leads_out_of_the_workspace(app: FastAPI, context: Context) -> None:
    before = context.pool.intent()
    asked = [(method, path, list(schemas)) for method, path, schemas in named(app)]
    asked += [("get", "/page/{name}", ["name"])]
    for method, path, names in asked:
        with TestClient(app, base_url="http://127.0.0.1", headers=BEARER) as client:
            for payload in TRAVERSAL:
                for name in names:
                    filled = path.replace(f"{{{name}}}", quote(payload, safe="").replace(".", "%2E"))
                    filled = re.sub(r"{\w+}", "accept" if "verdict" in path else "0", filled)
                    answer = client.request(method, filled, json=None if method == "get" else {})
                    assert 400 <= answer.status_code < 500, (method, filled, answer.status_code)
                    assert KEPT_FROM_ALL not in answer.text
                    assert "set-cookie" not in answer.headers
    assert context.pool.intent() == before


@pytest.mark.parametrize(
    "path", ["/page/../outside.txt", "/page/..%2f..%2foutside.txt", "/../outside.txt", "//etc/passwd"]
)
def test_a_path_of_dots_is_no_file(app: FastAPI, path: str) -> None:
    """The path goes to the service as it is: clients that tidy it up are not what is tried."""

    async def ask() -> int:
        said: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        headers = [(name.encode(), value.encode()) for name, value in {**BEARER, "host": "127.0.0.1"}.items()]
        scope = {"type": "http", "method": "GET", "path": unquote(path), "raw_path": path.encode(), "headers": headers}
        await app(
            {**scope, "query_string": b"", "http_version": "1.1", "scheme": "http", "server": None}, receive, send
        )
        assert KEPT_FROM_ALL.encode() not in b"".join(one.get("body", b"") for one in said)
        return int(said[0]["status"])

    assert anyio.run(ask) == 404


ORIGINS = {
    None: 200,
    "http://evil.example": 403,
    "https://evil.example": 403,
    "http://127.0.0.1": 403,
    "http://127.0.0.1.evil.example": 403,
    "http://localhost": 403,
    "null": 403,
    "": 403,
    "file://": 403,
    "http://[": 403,
}


@pytest.mark.parametrize("by", ["token", "cookie", "nothing", "wrong token"])
def test_the_events_are_told_to_the_page_of_the_service_itself_and_no_other(
    app: FastAPI, tmp_path: Path, by: str
) -> None:
    async def first_lines(client: httpx.AsyncClient, url: str, headers: dict[str, str]) -> tuple[int, str, str]:
        async with client.stream("GET", f"{url}/v1/events", headers=headers) as answer:
            if answer.status_code != 200:
                return answer.status_code, answer.headers["content-type"], (await answer.aread()).decode()
            async for line in answer.aiter_lines():
                if line:
                    return answer.status_code, answer.headers["content-type"], line
        raise AssertionError("the stream ended without a line")

    async def run() -> None:
        async with (
            serving(app, host="127.0.0.1", port=0, token=TOKEN, folder=tmp_path) as access,
            httpx.AsyncClient(trust_env=False) as client,
        ):
            code = (await client.post(f"{access.url}/v1/login-links", headers=BEARER)).json()["path"]
            session = (await client.get(access.url + code)).cookies[COOKIE]
            client.cookies.clear()
            let_in = {
                "token": BEARER,
                "cookie": {"cookie": f"{COOKIE}={session}"},
                "nothing": {},
                "wrong token": {"authorization": "Bearer wrong"},
            }[by]
            for origin, status in {**ORIGINS, access.url: 200}.items():
                headers = {**let_in, **({} if origin is None else {"origin": origin})}
                found, kind, line = await first_lines(client, access.url, headers)
                assert found == (status if by in {"token", "cookie"} else 401), origin
                assert kind.startswith("text/event-stream" if found == 200 else "application/problem+json")
                assert (STATUS.model_dump_json() in line or line.startswith(("event:", "id:", "retry:"))) is (
                    found == 200
                )
            for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80"):
                found, _, line = await first_lines(client, access.url, {**let_in, "host": host})
                assert found == (421 if by in {"token", "cookie"} else 401), host

    anyio.run(run)
