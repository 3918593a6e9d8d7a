"""deploy/rayjob.yaml against the fields of KubeRay's ray.io/v1 types, kept here by hand.

They are those of `rayjob_types.go` and `raycluster_types.go` (operator 1.6); a pod's own fields are
checked for what matters to us.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from fastdfkd.recipe import load_recipe
from tests.deploy.files import DEPLOY, IMAGE

JOB = {
    "activeDeadlineSeconds": int,
    "backoffLimit": int,
    "clusterSelector": dict,
    "deletionStrategy": dict,
    "entrypoint": str,
    "entrypointNumCpus": float,
    "entrypointNumGpus": float,
    "entrypointResources": str,
    "jobId": str,
    "managedBy": str,
    "metadata": dict,
    "rayClusterSpec": dict,
    "runtimeEnvYAML": str,
    "shutdownAfterJobFinishes": bool,
    "submissionMode": str,
    "submitterConfig": dict,
    "submitterPodTemplate": dict,
    "suspend": bool,
    "ttlSecondsAfterFinished": int,
}
CLUSTER = {
    "authOptions": dict,
    "autoscalerOptions": dict,
    "enableInTreeAutoscaling": bool,
    "gcsFaultToleranceOptions": dict,
    "headGroupSpec": dict,
    "headServiceAnnotations": dict,
    "managedBy": str,
    "rayVersion": str,
    "suspend": bool,
    "upgradeStrategy": dict,
    "workerGroupSpecs": list,
}
AUTH = {"mode": str, "secretName": str, "enableK8sTokenAuth": bool}
AUTOSCALER = {
    "idleTimeoutSeconds": int,
    "upscalingMode": str,
    "resources": dict,
    "image": str,
    "imagePullPolicy": str,
    "securityContext": dict,
    "env": list,
    "envFrom": list,
    "volumeMounts": list,
    "version": str,
}
HEAD = {
    "enableIngress": bool,
    "headService": dict,
    "labels": dict,
    "rayStartParams": dict,
    "resources": dict,
    "serviceType": str,
    "template": dict,
}
WORKERS = {
    "groupName": str,
    "idleTimeoutSeconds": int,
    "labels": dict,
    "maxReplicas": int,
    "minReplicas": int,
    "numOfHosts": int,
    "rayStartParams": dict,
    "replicas": int,
    "resources": dict,
    "scaleStrategy": dict,
    "suspend": bool,
    "template": dict,
}


def strange(values: Any, known: dict[str, type], where: str) -> Iterator[str]:
    """What the API server would refuse or silently drop."""
    for key, value in values.items():
        if key not in known:
            yield f"{where}.{key}: no such field"
        elif not isinstance(value, known[key]) or isinstance(value, bool) != (known[key] is bool):
            yield f"{where}.{key}: expected {known[key].__name__}, got {value!r}"


def all_strange(job: Any) -> list[str]:
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    found = [*strange(spec, JOB, "spec"), *strange(cluster, CLUSTER, "cluster")]
    found += strange(cluster["authOptions"], AUTH, "auth")
    found += strange(cluster["autoscalerOptions"], AUTOSCALER, "autoscaler")
    found += strange(cluster["headGroupSpec"], HEAD, "head")
    for group in cluster["workerGroupSpecs"]:
        found += strange(group, WORKERS, group.get("groupName", "?"))
    return found


@pytest.fixture
def job() -> Any:
    return yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())


@pytest.fixture
def groups(job: Any) -> list[Any]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_every_field_is_one_of_kuberays(job: Any) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert all_strange(job) == []


def test_a_slip_would_be_found(job: Any) -> None:
    job["spec"]["backofLimit"] = 0
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][1]["minReplicas"] = "2"
    assert all_strange(job) == [
        "spec.backofLimit: no such field",
        "spot.minReplicas: expected int, got '2'",
    ]


def test_required_fields_and_words_of_choice(job: Any, groups: list[Any]) -> None:
    spec = job["spec"]
    assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
    assert spec["rayClusterSpec"]["autoscalerOptions"]["upscalingMode"] in (
        "Default",
        "Aggressive",
        "Conservative",
    )
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        assert group["template"]["spec"]["containers"][0]["image"] == IMAGE
    for group in groups[1:]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_entrypoint_is_a_run_that_the_cluster_can_hold(job: Any, groups: list[Any]) -> None:
    """The recipe is real, and the nodes kept up are enough: a run is refused when they are not."""
    program, command, name, *rest = shlex.split(job["spec"]["entrypoint"])
    assert (program, command) == ("fastdfkd", "distill")
    at = rest.index("--out")
    recipe = load_recipe(name, rest[:at])
    gpus = sum(
        group["minReplicas"]
        * group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
        for group in groups[1:]
    )
    assert gpus >= recipe.platform.synthesizers + recipe.platform.workers
    mounts = groups[0]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert any(rest[at + 1].startswith(mount["mountPath"] + "/") for mount in mounts)


def test_the_version_is_the_pinned_ray(job: Any) -> None:
    pins = (DEPLOY.parent / "constraints.txt").read_text().splitlines()
    ray = next(line for line in pins if line.startswith("ray=="))
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray.split(";")[0].strip()[5:]


def test_the_token_is_asked_for(job: Any) -> None:
    assert job["spec"]["rayClusterSpec"]["authOptions"]["mode"] == "token"


def test_spot_nodes_may_go_and_the_head_may_not(job: Any, groups: list[Any]) -> None:
    head, on_demand, spot = groups
    assert job["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True
    assert head["rayStartParams"]["num-cpus"] == "0", "no task runs beside the driver"
    for group in (head, on_demand):
        assert "nodeSelector" not in group["template"]["spec"]
        assert "tolerations" not in group["template"]["spec"]
    pod = spot["template"]["spec"]
    assert "spot" in pod["nodeSelector"].values()
    assert any(toleration["key"] == "spot" for toleration in pod["tolerations"])
    assert spot["maxReplicas"] > spot["minReplicas"]


def test_nothing_runs_as_root(groups: list[Any]) -> None:
    for group in groups:
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_every_mount_has_a_volume(groups: list[Any]) -> None:
    for group in groups:
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
