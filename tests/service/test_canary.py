"""Keys of a made-up kind are given to a service that works and fails, and are then found nowhere."""

import base64
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest
from anyio.from_thread import start_blocking_portal

from seedbed.endpoints.scripted_server import Received, Reply, ScriptedServer, serve_scripted
from seedbed.service.init import create_workspace

KEY, TOKEN, HOOK = (f"canary-{name}-7f3a9d0b2c84/{name}+5c1e77d1" for name in ("key", "token", "hook"))
TOLD_BY_ITS_FILE = "service.json"
"""Holds the token of this run, mode 0600, as long as the service runs."""
ROWS = 12


class Echoing:
    """A server that needs the key, and in time fails now and then with the key in its words."""

    def __init__(self) -> None:
        self._server, self._asked, self.failed = ScriptedServer(key=KEY), 0, 0

    def __call__(self, received: Received) -> Reply:
        if not received.path.endswith("completions"):
            return self._server(received)
        self._asked += 1
        if self._asked % 4 != 2:
            return self._server(received)
        return self._refusal(received, (500, 429, 503)[self.failed % 3])

    def _refusal(self, received: Received, status: int) -> Reply:
        self.failed += 1
        words = {"error": {"message": f"upstream said no to {received.headers['authorization']} of {KEY}"}}
        return Reply(json.dumps(words).encode(), status, {"x-echo": KEY})


def environment_of(where: str) -> dict[str, str]:
    """Return the secrets of a service whose model server, at `where`, is asked to take its alarms, too, and refuses."""
    return {
        **os.environ,
        "CANARY_KEY": KEY,
        "CANARY_TOKEN": TOKEN,
        "CANARY_HOOK": f"{where}/{quote(HOOK)}",
        "SEEDBED__SERVICE__TOKEN_ENV": "CANARY_TOKEN",
        "SEEDBED__ALARMS__WEBHOOK_ENV": "CANARY_HOOK",
        "SEEDBED__BUDGET__MAX_TOKENS": "20000",
        "SEEDBED__FILTERS__CONTAMINATION__DIGESTS": "false",
    }


def seedbed(*arguments: str, environment: dict[str, str]) -> str:
    """Run a command; returns all it said."""
    command = [sys.executable, "-m", "seedbed", *arguments]
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    ).stdout


def asked(url: str, method: str = "GET", token: str = TOKEN) -> tuple[int, str]:
    """Ask the service; returns the status and the whole answer, headers first. Of a stream, the beginning."""
    data = b"{}" if method in {"POST", "PUT"} else None
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, data=data, method=method, headers=headers))
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        is_stream = "event-stream" in answer.headers["content-type"] if answer.headers["content-type"] else False
        body = b"".join(answer.readline() for _ in range(9)) if is_stream else answer.read()
        return answer.status, f"{answer.headers}{body.decode()}"


def accepted(url: str) -> int:
    found: int = json.loads(asked(f"{url}/v1/status")[1].partition("\n\n")[2])["accepted"]
    return found


def paths_of(url: str) -> list[str]:
    """Every path of the OpenAPI that is read, with ids that are there."""
    _, text = asked(f"{url}/v1/openapi.json")
    listed = json.loads(text[text.index('{"openapi') :])["paths"]
    _, text = asked(f"{url}/v1/pool/rows")
    row = json.loads(text[text.index('{"rows') :])["rows"][0]["candidate"]["id"]
    found = [path.replace("{identity}", row) for path, item in listed.items() if "get" in item]
    return [re.sub(r"{\w+}", "0", path) for path in found]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What was said by a service while it worked, by what said it; what the folder holds afterwards."""
    folder = tmp_path_factory.mktemp("canary") / "w"
    server = Echoing()
    told: dict[str, str] = {}
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve_scripted(respond=server)) as where:
        environment = environment_of(where)
        create_workspace(folder, base_url=where, model="scripted", api_key_env="CANARY_KEY")
        log = folder / "serve.log"
        with log.open("wb") as output:
            command = [sys.executable, "-m", "seedbed", "-w", str(folder), "serve", "--port", "0"]
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            while not (folder / TOLD_BY_ITS_FILE).exists():
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            url = json.loads((folder / TOLD_BY_ITS_FILE).read_text())["url"]
            while accepted(url) < ROWS or "webhook.failed" not in (folder / "logs/events.jsonl").read_text():
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            for path in (*paths_of(url), "/", "/page/page.js", "/v1/nothing", "/v1/runs/999"):
                told[f"GET {path}"] = asked(url + path)[1]
            told["a wrong token"] = asked(f"{url}/v1/status", token=TOKEN[:-1])[1]
            told["a wrong method"] = asked(f"{url}/v1/status", "PUT")[1]
            told["a login link"] = asked(f"{url}/v1/login-links", "POST")[1]
            told["a snapshot"] = asked(f"{url}/v1/snapshots", "POST")[1]
            told["status"] = seedbed("-w", str(folder), "status", environment=environment)
            told.update(files_of(folder, "while it ran", but=TOLD_BY_ITS_FILE))
        finally:
            process.terminate()
            process.wait()
        told.update(files_of(folder, "at the end"))
    assert server.failed > 3
    return told


def files_of(folder: Path, when: str, but: str = "") -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != but)
    return {f"{path.relative_to(folder)} {when}": path.read_bytes().decode("latin-1") for path in files}


@pytest.mark.parametrize("canary", [KEY, TOKEN, HOOK], ids=["key", "token", "webhook"])
def test_a_secret_is_found_nowhere(said: dict[str, str], canary: str) -> None:
    encoded = base64.b64encode(canary.encode()).decode().rstrip("=")
    forms = [canary, quote(canary), quote(canary, safe=""), json.dumps(canary).strip('"'), encoded[:-2]]
    assert [what for what, text in said.items() if any(form in text for form in forms)] == []


def test_what_was_looked_through_is_what_a_service_leaves(said: dict[str, str]) -> None:
    assert {"pool.sqlite3 at the end", "logs/events.jsonl at the end", "serve.log at the end"} <= set(said)
    assert any(what.startswith("snapshots/") for what in said)
    assert any(what.startswith("cache/") for what in said)
    assert '"accepted"' in said["GET /v1/status"]
    assert "seedbed_" in said["GET /metrics"]
    assert "data:" in said["GET /v1/events"]
    assert '"webhook.failed"' in said["logs/events.jsonl at the end"]
    assert "failed" in said["logs/events.jsonl at the end"] or '"requests_failed":0' not in said["GET /v1/status"]


def test_the_token_stands_in_one_file_for_the_owner_alone_and_leaves_with_the_service(said: dict[str, str]) -> None:
    assert not [what for what in said if what.startswith(TOLD_BY_ITS_FILE)]
