"""Several services generate for one pool on a PostgreSQL server; whichever is killed, nothing is lost or twice.

Three kills in the suite; `SEEDBED_KILLS=40 SEEDBED_SEED=7 pytest -s tests/faults/test_nodes.py` kills more.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx
import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.records import NodeRole
from seedbed.pool.pool import Pool
from seedbed.seeds.load import PACKAGED_CATEGORIES, load_categories
from tests.faults.crew import STEP, TAKEOVER_S, Service, Watch, check_pool, settings, wait_until
from tests.postgres import PostgresServer

pytestmark = pytest.mark.real


@pytest.fixture
def endpoint() -> Iterator[str]:
    yield from scripted(0.2)


@pytest.fixture
def slow_endpoint() -> Iterator[str]:
    yield from scripted(15.0)


def scripted(latency_s: float) -> Iterator[str]:
    command = [sys.executable, "-m", "seedbed.endpoints.scripted_server", "--port", "0", "--latency-s", str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.kill()


def test_whichever_service_is_killed_nothing_is_lost_or_twice(
    tmp_path: Path, endpoint: str, postgres_server: PostgresServer
) -> None:
    kills, seed = int(os.environ.get("SEEDBED_KILLS", "3")), int(os.environ.get("SEEDBED_SEED", "11"))
    chance, url = random.Random(seed), postgres_server.new_database()
    environment = settings(url)
    watch, took_s, told = Watch(postgres_server, url), list[float](), list[str]()

    def start(name: str) -> Service:
        return Service(tmp_path / name, endpoint, environment, lost_after_s=10.0)

    services = [start(f"s{number}") for number in range(3)]
    leaders = 0
    try:
        wait_until(lambda: watch.accepted() > STEP and all(one.told for one in services), services)
        for kill in range(kills):
            time.sleep(chance.uniform(0.0, 1.5))
            leader, epoch = watch.leader(), watch.epoch()
            # Every other kill is the leader's, since one in three by chance would be few.
            is_meant = [one for one in services if (one.process.pid == leader) == (kill % 2 == 0)] or services
            victim = chance.choice(is_meant)
            victim.kill()
            told += victim.told
            services.remove(victim)
            if victim.process.pid == leader:
                leaders += 1
                took_s.append(wait_until(lambda epoch=epoch: watch.epoch() > epoch, services))  # type: ignore[misc]
            before = watch.accepted()
            services.append(start(f"k{kill}"))
            wait_until(lambda before=before: watch.accepted() > before + STEP, services)  # type: ignore[misc]
            wait_until(lambda: all(one.told for one in services), services)
        leader = watch.leader()
        services.sort(key=lambda one: one.process.pid == leader)
        codes = [one.stop() for one in services[:-1]]
        wait_until(lambda: watch.undecided() == 0, services[-1:])
        codes.append(services[-1].stop())
    finally:
        for service in services:
            service.kill()
            told += service.told
    assert codes == [0, 0, 0]
    stored, runs = check_pool(tmp_path, url, told)
    writers = "SELECT count(DISTINCT node)::int FROM requests WHERE state = 'answered'"
    assert watch.number(writers) == 3 + kills
    assert not took_s or max(took_s) < TAKEOVER_S
    print(
        f"seed {seed}: {kills} kills, {leaders} of them of the leader, {len(told)} rows told, {stored} stored, "
        f"0 lost, 0 twice, 0 pairs too alike, {runs} triggers, each once; another led after "
        f"{median(took_s):.2f} s (median), {max(took_s):.2f} s at most"
    )


def test_what_was_in_flight_at_a_killed_service_is_told(
    tmp_path: Path, slow_endpoint: str, endpoint: str, postgres_server: PostgresServer
) -> None:
    url = postgres_server.new_database()
    watch, environment = Watch(postgres_server, url), settings(url, step=100_000)
    leader = Service(tmp_path / "leader", endpoint, environment, lost_after_s=3.0)
    services = [leader]
    waiting = "SELECT count(*)::int FROM requests WHERE state = 'waiting' AND node IN (SELECT id FROM nodes WHERE "
    waiting += "record::json ->> 'name' = 'slow')"
    try:
        wait_until(lambda: watch.accepted() > 0, services)
        unasked = {**environment, "SEEDBED__GENERATION__USE_JSON_SCHEMA": "never"}  # what it can do is not tried first
        services.append(slow := Service(tmp_path / "slow", slow_endpoint, unasked))
        wait_until(lambda: watch.number(waiting) > 3, services)
        slow.kill()
        services.remove(slow)
        in_flight = watch.number(waiting)
        wait_until(lambda: bool(leader.events("node.lost")), services)
        (lost,) = leader.events("node.lost")
        assert (lost["node"], lost["requests"]) == ("slow", in_flight)
        assert float(str(lost["about_tokens"])) > 0
        failed = "SELECT count(*)::int FROM failures WHERE kind = 'NodeLostError'"
        assert watch.number(failed) == in_flight
        with Pool.open(tmp_path / "look", PoolConfig(url=url), read_only=True) as pool:
            nodes = {node.name: node for node in pool.nodes.all()}
        assert (nodes["slow"].is_lost, nodes["slow"].in_flight) == (True, in_flight)
        assert (nodes["leader"].is_lost, nodes["leader"].role) == (False, NodeRole.LEADER)
    finally:
        for service in services:
            service.kill()


def test_others_follow_what_the_leader_wants(tmp_path: Path, endpoint: str, postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    watch, environment = Watch(postgres_server, url), settings(url, step=100_000)
    services = [Service(tmp_path / "leader", endpoint, environment)]

    def answer(name: str, method: str, path: str, **body: object) -> httpx.Response:
        wait_until((tmp_path / name / "service.json").exists, services)
        service = json.loads((tmp_path / name / "service.json").read_text())
        headers = {"Authorization": f"Bearer {service['token']}"}
        return httpx.request(method, f"{service['url']}{path}", headers=headers, json=body or None, timeout=60)

    def ask(method: str, path: str, **body: object) -> httpx.Response:
        return answer("leader", method, path, **body).raise_for_status()

    def other() -> dict[str, object]:
        (found,) = [node for node in ask("GET", "/v1/status").json()["nodes"] if node["name"] == "other"]
        assert isinstance(found, dict)
        return found

    try:
        wait_until(lambda: watch.accepted() > 0, services)
        services.append(Service(tmp_path / "other", endpoint, environment))
        wait_until(lambda: bool(services[1].told), services)
        assert (other()["role"], other()["phase"]) == ("generator", "generating")
        assert 'role="generator"' in ask("GET", "/metrics").text
        refused = answer("other", "POST", "/v1/control/pause")
        assert (refused.status_code, "another service leads" in refused.json()["detail"]) == (409, True)
        ask("POST", "/v1/control/pause")
        wait_until(lambda: other()["phase"] == "waiting_for_leadership", services)
        paused_at = watch.number("SELECT max(number)::int FROM requests")
        time.sleep(3)
        assert watch.number("SELECT max(number)::int FROM requests") == paused_at
        assert watch.undecided() == 0
        # Only what the leader trains is asked for: here it gives all to one category.
        names = [category.name for category in load_categories(PACKAGED_CATEGORIES).trained]
        only = "creative_writing"
        ask("PUT", "/v1/control/shares", shares={name: float(name == only) for name in names}, note="one alone")
        ask("POST", "/v1/control/start")
        seen = len(services[1].told)
        wait_until(lambda: len(services[1].told) > seen + 10, services)
        asked = "SELECT count(*)::int FROM requests WHERE requested_category != '{0}' AND number > {1}"
        assert watch.number(asked.format(only, paused_at)) == 0
        assert watch.number(f"SELECT count(DISTINCT node)::int FROM requests WHERE number > {paused_at}") == 2
    finally:
        for service in services:
            service.kill()
