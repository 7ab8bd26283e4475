"""The Kubernetes example, held against the schema of its version, and who may reach whom."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "docker" / "kubernetes"
FILES = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
OBJECTS: list[dict[str, Any]] = [one for file in FILES for one in yaml.safe_load_all((FOLDER / file).read_text())]


def found(kind: str, name: str) -> dict[str, Any]:
    (one,) = [one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return one


def pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = found("StatefulSet", name)["spec"]["template"]["spec"]
    return spec


def test_every_file_is_part_of_the_whole() -> None:
    assert set(FILES) == {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}


@pytest.mark.parametrize("one", OBJECTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_every_object_is_as_its_schema_wants_it(one: dict[str, Any]) -> None:
    kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_the_schema_refuses_what_it_does_not_know() -> None:
    wrong = found("Service", "vllm") | {"spec": {"ports": [{"prot": 8000}]}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_models_and_database_are_reached_by_the_service_alone() -> None:
    for name in ("vllm", "postgres"):
        policy = found("NetworkPolicy", name)["spec"]
        assert policy["podSelector"]["matchLabels"] == pod_labels(name)
        assert policy["egress"] == []
        (rule,) = policy["ingress"]
        assert [one["podSelector"]["matchLabels"] for one in rule["from"]] == [pod_labels("seedbed")]
        (port,) = rule["ports"]
        (container,) = pod(name)["containers"]
        assert port["port"] in {one["name"] for one in container["ports"]}


def pod_labels(name: str) -> dict[str, str]:
    chosen: dict[str, str] = found("StatefulSet", name)["spec"]["selector"]["matchLabels"]
    assert chosen.items() <= found("StatefulSet", name)["spec"]["template"]["metadata"]["labels"].items()
    assert found("Service", name)["spec"]["selector"] == chosen
    return chosen


def test_vllm_sees_of_the_workspace_the_adapters_alone_and_may_write_nothing() -> None:
    (container,) = pod("vllm")["containers"]
    seen = {one["name"]: one for one in container["volumeMounts"]}
    assert seen["workspace"]["subPath"] == "adapters"
    assert seen["workspace"]["readOnly"]
    assert seen["models"]["readOnly"]
    (own,) = [one for one in pod("seedbed")["volumes"] if one["name"] == "workspace"]
    (theirs,) = [one for one in pod("vllm")["volumes"] if one["name"] == "workspace"]
    claim = theirs["persistentVolumeClaim"]["claimName"]
    assert own["persistentVolumeClaim"]["claimName"] == claim
    assert found("PersistentVolumeClaim", claim)["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_service_may_do_nothing_but_its_work() -> None:
    assert pod("seedbed")["securityContext"]["runAsUser"] == 10001  # the user of the image
    (container,) = pod("seedbed")["containers"]
    allowed = container["securityContext"]
    assert (allowed["allowPrivilegeEscalation"], allowed["readOnlyRootFilesystem"]) == (False, True)
    assert allowed["capabilities"]["drop"] == ["ALL"]
    written = {one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")}
    assert written == {"/workspace", "/cache", "/tmp"}


@pytest.mark.parametrize("name", ["seedbed", "vllm", "postgres"])
def test_no_pod_has_a_secret_in_its_environment_an_unpinned_image_or_a_way_to_the_cluster(name: str) -> None:
    assert pod(name)["automountServiceAccountToken"] is False
    for container in pod(name)["containers"]:
        assert container["image"].rpartition(":")[2] not in {"", "latest", container["image"]}
        secret = [one for one in container["env"] if "PASSWORD" in one["name"] or "TOKEN" in one["name"]]
        assert all(one["name"].endswith("_FILE") or one["name"].endswith("_ENV") for one in secret)
