"""What Prometheus is told, read by its own parser."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from seedbed.core.config import PoolConfig
from seedbed.core.diversity import Diversity
from seedbed.core.records import Phase, Status
from seedbed.endpoints.protocol import EndpointState, State
from seedbed.pool.pool import Pool
from seedbed.service.api import build_app

DOCKER = Path(__file__).parents[2] / "docker"
TOKEN = "the-token-of-this-run"
ENDPOINT = EndpointState(State.READY, "", 7, 16, "server_queue", 90, 3, 2, 1000, 500, 0.25, 4.5, 11, 8.5)
DIVERSITY = Diversity(
    rows=50,
    categories={"coding": 50},
    category_entropy=0.0,
    category_evenness=None,
    distinct_1=0.4,
    distinct_2=0.8,
    similarity={},
    near_duplicates=0.24,
    leading_words={"write": 20},
    leading_share=0.4,
    verb_nouns={},
    lengths={},
    acceptance=0.6,
    acceptance_slope=-0.1,
    mean_depth=1.5,
    max_depth=3,
)
STATUS = Status(
    phase=Phase.GENERATING,
    accepted=30,
    target=60,
    round=2,
    decided=50,
    refused={"rouge.near_duplicate": 12, 'parse.odd "reason"\n': 1},
    categories={"coding": 30},
    prompt_tokens=1000,
    completion_tokens=500,
    cost=0.25,
    alarms=("the endpoint is down",),
    endpoints={"local": asdict(ENDPOINT)},
    disk={"database": 4096},
    diversity=DIVERSITY,
)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with Pool.open(tmp_path, PoolConfig()) as pool:
        app = build_app(lambda: STATUS, lambda: "", TOKEN, pool)
        with TestClient(app, base_url="http://127.0.0.1") as client:
            yield client


def scraped(client: TestClient) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}


def test_the_status_is_told_as_metrics(client: TestClient) -> None:
    found = scraped(client)
    assert found["seedbed_accepted_rows", ()] == 30
    assert found["seedbed_target_rows", ()] == 60
    assert found["seedbed_decided_rows_total", ()] == 50
    assert found["seedbed_refused_rows_total", ("rouge", "near_duplicate")] == 12
    assert found["seedbed_tokens_total", ("completion",)] == 500
    assert found["seedbed_cost_total", ()] == 0.25
    assert found["seedbed_phase", ("generating",)] == 1
    assert sum(value for (name, _), value in found.items() if name == "seedbed_phase") == 1
    assert found["seedbed_alarms", ()] == 1
    assert found["seedbed_disk_bytes", ("database",)] == 4096
    assert found["seedbed_diversity_near_duplicates", ()] == 0.24


def test_each_endpoint_tells_its_limit_and_how_long_requests_waited(client: TestClient) -> None:
    found = scraped(client)
    assert found["seedbed_endpoint_in_flight", ("local",)] == 7
    assert found["seedbed_endpoint_limit", ("local",)] == 16
    assert found["seedbed_endpoint_failures_total", ("local",)] == 3
    assert found["seedbed_endpoint_oldest_in_flight_seconds", ("local",)] == 4.5
    assert found["seedbed_endpoint_queue_wait_seconds_total", ("local",)] == 8.5
    assert found["seedbed_endpoint_state", ("local", "ready")] == 1


def test_a_reason_that_a_model_wrote_cannot_forge_a_metric(client: TestClient) -> None:
    assert scraped(client)["seedbed_refused_rows_total", ("parse", 'odd "reason"\n')] == 1


def test_metrics_ask_for_the_token(client: TestClient) -> None:
    assert client.get("/metrics").status_code == 401


def test_the_dashboard_asks_for_metrics_that_there_are(client: TestClient) -> None:
    names = {name for name, _ in scraped(client)}
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "seedbed.json").read_text())
    asked = [re.findall(r"seedbed_\w+", target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]
    assert all(asked)
    assert {name for metrics in asked for name in metrics} <= names
