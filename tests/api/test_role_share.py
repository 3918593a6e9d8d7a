"""`platform.synthesis_share: auto`: the division of a machine with which a run ends first."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import GetTimeoutError

from fastdfkd.api import role_share
from fastdfkd.api.role_share import best_division, decides
from fastdfkd.core.step_costs import StepCosts
from fastdfkd.experiment import initial_student
from fastdfkd.platform import role_costs
from fastdfkd.platform.placement import PlacementError, Plan
from fastdfkd.platform.role_costs import RoleCosts
from fastdfkd.recipe import Recipe


def auto(**platform: Any) -> Recipe:
    """2,000 rounds of 5 steps, 10 updates each."""
    return Recipe.model_validate(
        {
            "name": "tiny",
            "data": {"name": "digits"},
            "teacher": {"model": "resnet14"},
            "student": {"model": "resnet8-half"},
            "synthesis": {"rounds": 2000, "warmup_rounds": 0, "steps": 5},
            "distillation": {"updates_per_round": 10, "batch_size": 240},
            "platform": {"synthesis_share": "auto", **platform},
        }
    )


def costs(step: float, update: float) -> RoleCosts:
    """Of a synthesizer and a trainer with one core or GPU each."""
    made = StepCosts(seconds=step, warmup_seconds=step, memory_bytes=300, images=4)
    return RoleCosts(made, replace(made, seconds=update, memory_bytes=100))


@pytest.mark.parametrize(
    ("step", "update", "synthesizers", "workers"),
    [
        (0.2, 0.1, 4, 4),  # a round takes 1 s, and its updates too
        (0.6, 0.1, 6, 2),
        (6.0, 0.1, 7, 1),
        (0.2, 0.7, 1, 6),  # 7 trainers do not divide 240 images
        (0.001, 0.1, 1, 6),
    ],
)
def test_gpus_go_to_the_roles_by_cost(
    step: float, update: float, synthesizers: int, workers: int
) -> None:
    best = best_division(auto(), costs(step, update), {"CPU": 64.0, "GPU": 8.0}, 64.0)
    assert (best.plan.synthesizers, best.plan.workers) == (synthesizers, workers)
    assert isinstance(best.recipe.platform.synthesis_share, float)


def test_neither_role_waits_long_where_the_cards_allow_it() -> None:
    for step in (0.2, 1.4):
        best = best_division(auto(), costs(step, 0.1), {"CPU": 64.0, "GPU": 24.0}, 64.0)
        assert max(best.synthesizers_idle, best.trainers_idle) < 0.1, best.line


@pytest.mark.parametrize(("step", "update", "cores"), [(0.2, 0.1, 4), (0.6, 0.1, 6), (0.2, 0.3, 2)])
def test_without_gpus_the_cores_are_divided(step: float, update: float, cores: int) -> None:
    best = best_division(auto(), costs(step, update), {"CPU": 8.0}, 8.0)
    assert best.plan.synthesizer == {"CPU": cores}
    assert best.plan.worker == {"CPU": 8 - cores}
    assert f"1 synthesizers with {cores} CPU" in best.line


def test_a_single_gpu_is_divided_by_memory() -> None:
    best = best_division(auto(), costs(0.2, 0.1), {"CPU": 8.0, "GPU": 1.0}, 8.0)
    assert best.plan.synthesizer["GPU"] == 0.75


def test_what_the_recipe_sets_stays() -> None:
    best = best_division(auto(workers=2), costs(0.2, 0.1), {"CPU": 64.0, "GPU": 8.0}, 64.0)
    assert (best.plan.synthesizers, best.plan.workers) == (6, 2)


@pytest.mark.parametrize(
    ("platform", "cluster", "expected"),
    [
        ({}, {"CPU": 8.0}, True),
        ({}, {"CPU": 2.0}, False),
        ({"schedule": "lockstep"}, {"CPU": 8.0}, False),
        ({"synthesizers": 2, "workers": 2}, {"CPU": 8.0}, False),
        ({}, {"CPU": 8.0, "GPU": 1.0}, True),
        ({"workers": 4}, {"CPU": 8.0, "GPU": 8.0}, False),
    ],
)
def test_nothing_is_measured_where_the_share_decides_nothing(
    platform: dict[str, Any], cluster: dict[str, float], expected: bool
) -> None:
    assert decides(auto(**platform), cluster, cluster["CPU"]) is expected


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_the_roles_are_measured_on_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role_share, "cluster_resources", lambda: {"CPU": 8.0})
    monkeypatch.setattr(role_share, "node_cpus", lambda: 8.0)
    recipe = auto()
    recipe, line = role_share.settled_here(recipe, initial_student(recipe))
    cores = recipe.platform.cpus_per_synthesizer
    assert isinstance(recipe.platform.synthesis_share, float)
    assert cores + recipe.platform.cpus_per_worker == 8
    assert f"1 synthesizers with {cores:g} CPU" in line


def test_a_measurement_that_gets_no_place_ends_with_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cancelled: list[Any] = []

    def waits(answer: Any, timeout: float) -> None:
        assert timeout == 25.0 + role_costs.PATIENCE
        raise GetTimeoutError

    task = SimpleNamespace(remote=lambda *_: "answer")
    monkeypatch.setattr(role_costs, "_measure", SimpleNamespace(options=lambda **_: task))
    monkeypatch.setattr(role_costs, "stored", lambda experiment: experiment)
    monkeypatch.setattr(role_costs.ray, "get", waits)
    monkeypatch.setattr(role_costs.ray, "cancel", lambda answer, force: cancelled.append(answer))
    recipe = auto(start_timeout_s=25.0)
    plan = Plan.wanted(recipe, {"CPU": 8.0})
    with pytest.raises(PlacementError, match="did not measure the roles within 145 s"):
        RoleCosts.on_cluster(SimpleNamespace(recipe=recipe), plan)  # type: ignore[arg-type]
    assert cancelled == ["answer"]
