"""The compose files, read by Docker Compose itself: its schema, what refers to what, and who can be reached."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = str(Path(sys.executable).parent / "docker-compose")
PROFILES = ("--profile", "metrics")


def composed(*files: str) -> dict[str, Any]:
    named = [part for file in files for part in ("--file", str(DOCKER / file))]
    environment = {"PATH": os.environ["PATH"], "SEEDBED_MODEL": "/models/one"}
    command = [COMPOSE, "--env-file", os.devnull, *named, *PROFILES, "config", "--format", "json"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return composed("compose.yaml", "compose.postgres.yaml")


def test_a_missing_folder_of_weights_is_told() -> None:
    command = [COMPOSE, "--env-file", os.devnull, "--file", str(DOCKER / "compose.yaml"), "config"]
    ran = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "the folder with the weights that vLLM serves" in ran.stderr


def test_what_can_be_reached_from_outside_is_on_loopback(project: dict[str, Any]) -> None:
    published = {
        name: [port["host_ip"] for port in service["ports"]]
        for name, service in project["services"].items()
        if "ports" in service
    }
    assert published == {"seedbed": ["127.0.0.1"], "grafana": ["127.0.0.1"]}


def test_vllm_and_postgres_are_on_networks_that_lead_nowhere(project: dict[str, Any]) -> None:
    for name in ("vllm", "postgres"):
        (network,) = project["services"][name]["networks"]
        assert project["networks"][network]["internal"]
        members = {other for other, service in project["services"].items() if network in service["networks"]}
        assert members == {"seedbed", name}


def test_vllm_reads_the_adapters_that_the_service_writes_and_nothing_else_of_it(project: dict[str, Any]) -> None:
    (workspace,) = [one for one in project["services"]["seedbed"]["volumes"] if one["target"] == "/workspace"]
    seen = {one["target"]: one for one in project["services"]["vllm"]["volumes"]}
    assert set(seen) == {"/model", "/adapters"}
    assert seen["/adapters"]["source"] == f"{workspace['source']}/adapters"
    assert all(one["read_only"] for one in seen.values())
    assert project["services"]["vllm"]["environment"]["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert "--enable-lora" in project["services"]["vllm"]["command"]


def test_the_service_may_do_nothing_but_its_work(project: dict[str, Any]) -> None:
    service = project["services"]["seedbed"]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"]
    assert service["build"]["target"] == "service"
    assert not any("TOKEN" in name and not name.endswith("_FILE") for name in service["environment"])


def test_every_image_is_pinned_and_every_mounted_file_of_ours_is_there(project: dict[str, Any]) -> None:
    for service in project["services"].values():
        tag = service["image"].rpartition(":")[2]
        assert tag not in {"", "latest", service["image"]}
        for one in service.get("volumes", ()):
            if (
                one["type"] == "bind"
                and Path(one["source"]).is_relative_to(DOCKER)
                and "workspace" not in one["source"]
            ):
                assert Path(one["source"]).exists()


def test_prometheus_asks_the_service_by_a_host_that_it_allows(project: dict[str, Any]) -> None:
    allowed = json.loads(project["services"]["seedbed"]["environment"]["SEEDBED__SERVICE__ALLOWED_HOSTS"])
    assert '"seedbed:8377"' in (DOCKER / "prometheus.yml").read_text()
    assert allowed == ["seedbed"]


def test_the_trainer_has_a_gpu_of_its_own() -> None:
    services = composed("compose.yaml", "compose.trainer.yaml")["services"]
    gpus = [services[name]["deploy"]["resources"]["reservations"]["devices"][0] for name in ("seedbed", "vllm")]
    assert [one["device_ids"] for one in gpus] == [["1"], ["0"]]
    assert services["seedbed"]["build"]["target"] == "trainer"


def test_with_one_gpu_vllm_listens_where_only_the_service_is() -> None:
    services = composed("compose.yaml", "compose.one-gpu.yaml")["services"]
    seedbed, vllm = services["seedbed"], services["vllm"]
    assert seedbed["network_mode"] == "service:vllm"
    assert not seedbed.get("networks")
    assert not seedbed.get("ports")
    assert {"--host=127.0.0.1", "--enable-sleep-mode", "--enable-lora"} <= set(vllm["command"])
    assert [(port["host_ip"], port["target"]) for port in vllm["ports"]] == [("127.0.0.1", 8377)]
    gpus = [one["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for one in (seedbed, vllm)]
    assert gpus == [["0"], ["0"]]
