"""What an experiment hands to both roles."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from fastdfkd.experiment import Experiment
from fastdfkd.models import build_network
from fastdfkd.recipe import Recipe, load_recipe


@pytest.mark.parametrize("wanted", [False, True])
def test_graphs_are_asked_of_cuda_and_a_cpu_says_that_it_has_none(
    tiny_recipe: Callable[..., Recipe], caplog: pytest.LogCaptureFixture, wanted: bool
) -> None:
    recipe = load_recipe(tiny_recipe(), {"platform.cuda_graphs": wanted})
    experiment = Experiment.of(recipe, build_network(recipe.teacher.model, 10, 1))
    with caplog.at_level(logging.WARNING):
        assert experiment.task("cpu").capture == wanted
    assert [record.message for record in caplog.records] == [
        "platform.cuda_graphs has no effect here: this role runs on the CPU"
    ] * wanted
