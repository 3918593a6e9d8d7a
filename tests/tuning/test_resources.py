from __future__ import annotations

import pytest

from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.tuning.resources import TrialCost, concurrent_trials, pinned_gpus


def cost_and_number(recipe: Recipe, **cluster: float) -> tuple[TrialCost, int]:
    cost = TrialCost.of(recipe, cluster)
    return cost, concurrent_trials(cost, cluster)


def test_a_trainer_in_the_trial_is_counted(small: Recipe) -> None:
    cost, concurrent = cost_and_number(small, CPU=2.0)
    assert cost.head == {"CPU": 1.0}
    assert cost.total == {"CPU": 2.0}
    assert concurrent == 1
    assert cost_and_number(small, CPU=9.0)[1] == 4


def test_with_worker_processes_the_trial_itself_reserves_no_cpu(small: Recipe) -> None:
    recipe = load_recipe(small, {"platform.workers": 1})
    cost, concurrent = cost_and_number(recipe, CPU=2.0)
    assert "CPU" not in cost.head, "1 + 1 plus any share of a CPU is more than 2"
    assert concurrent == 1


def test_one_core_is_enough(small: Recipe) -> None:
    cost, concurrent = cost_and_number(small, CPU=1.0)
    assert "CPU" not in cost.head
    assert concurrent == 1


def test_gpus_are_pinned_to_one_per_process(small: Recipe) -> None:
    cluster = {"CPU": 32.0, "GPU": 8.0}
    recipe = pinned_gpus(small, cluster)
    assert recipe.platform.gpus_per_synthesizer == 1
    cost, concurrent = cost_and_number(recipe, **cluster)
    assert cost.head == {"CPU": 1.0, "GPU": 1.0}
    assert concurrent == 4
    assert pinned_gpus(small, {"CPU": 2.0}) == small
    with pytest.raises(ValueError, match="asks for"):
        TrialCost.of(load_recipe(small, {"platform.synthesizers": 5}), {"CPU": 2.0})
