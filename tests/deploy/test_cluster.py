"""deploy/cluster.yaml against the cluster launcher's own defaults and schema."""

from __future__ import annotations

import copy
import shlex
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError

from tests.deploy.files import DEPLOY


@pytest.fixture(scope="module")
def config() -> Any:
    return yaml.safe_load((DEPLOY / "cluster.yaml").read_text())


def validated(config: Any) -> Any:
    """As `ray up` reads it, before it asks the cloud for anything."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def test_the_launcher_takes_it(config: Any) -> None:
    prepared = validated(config)
    assert prepared["available_node_types"].keys() == config["available_node_types"].keys()
    assert prepared["docker"]["image"] == config["docker"]["image"]


def test_the_schema_would_refuse_a_slip(config: Any) -> None:
    with pytest.raises(ValidationError, match="idle_timeout_minuts"):
        validated({**config, "idle_timeout_minuts": 5})


def test_only_workers_are_spot_and_there_is_something_to_scale(config: Any) -> None:
    types = config["available_node_types"]
    spot = {name for name, kind in types.items() if "InstanceMarketOptions" in kind["node_config"]}
    assert spot == {"spot_gpu"}
    assert types["spot_gpu"]["max_workers"] > types["spot_gpu"]["min_workers"]
    assert types[config["head_node_type"]]["resources"]["CPU"] == 0
    most = sum(kind.get("max_workers", 0) for kind in types.values())
    assert config["max_workers"] >= most, "the cluster's limit must leave room for every type's"


def words(config: Any, role: str) -> list[str]:
    (start,) = [line for line in config[f"{role}_start_ray_commands"] if "ray start" in line]
    return shlex.split(start)


@pytest.mark.parametrize("role", ["head", "worker"])
def test_ray_start_knows_its_options_and_asks_for_the_token(config: Any, role: str) -> None:
    from ray.scripts.scripts import start

    said = words(config, role)
    assert "RAY_AUTH_MODE=token" in said
    known = {name for option in start.params for name in option.opts}
    named = {word.split("=")[0] for word in said if word.startswith("--")}
    assert named <= known, named - known
    assert any(path.endswith("/.ray/auth_token") for path in config["file_mounts"])


def test_the_dashboard_stays_on_loopback(config: Any) -> None:
    assert "--dashboard-host=127.0.0.1" in words(config, "head")
    assert not any("dashboard-host" in word for word in words(config, "worker"))
