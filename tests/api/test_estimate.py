"""The estimate follows from the schedule and the costs of one step."""

from __future__ import annotations

from typing import Any

import pytest

from fastdfkd.api.estimate import Estimate, Roles, estimated
from fastdfkd.core.step_costs import StepCosts
from fastdfkd.recipe import Recipe

SYNTHESIS = StepCosts(seconds=2.0, warmup_seconds=1.0, memory_bytes=30, images=4)


def roles(**changes: Any) -> Roles:
    values: dict[str, Any] = {
        "synthesizers": 1,
        "workers": 1,
        "synthesizer_processors": 1,
        "worker_processors": 1,
        "processors": 2,
        "process_bytes": 100,
    }
    return Roles(**{**values, **changes})


def estimate(schedule: str, update_seconds: float, **changes: Any) -> Estimate:
    """10 rounds of 3 steps, the first 2 to warm up; 5 updates a round."""
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "data": {"name": "digits"},
            "teacher": {"model": "resnet14"},
            "student": {"model": "resnet8-half"},
            "synthesis": {"rounds": 10, "warmup_rounds": 2, "steps": 3, "batch_size": 4},
            "distillation": {"updates_per_round": 5, "batch_size": 4},
            "platform": {"schedule": schedule},
        }
    )
    update = StepCosts(
        seconds=update_seconds, warmup_seconds=update_seconds, memory_bytes=50, images=4
    )
    return estimated(recipe, SYNTHESIS, update, roles(**changes), 7)


MADE = 2 * 3 * 1.0 + 8 * 3 * 2.0
"""Seconds of all batches."""


@pytest.mark.parametrize(
    ("schedule", "update", "changes", "end"),
    [
        ("lockstep", 0.5, {}, MADE + 40 * 0.5),
        ("async", 0.5, {}, MADE + 5 * 0.5),  # synthesis is the slower role
        ("async", 5.0, {}, 3 * 3 * 1.0 + 40 * 5.0),  # training is the slower role
        ("async", 0.5, {"synthesizers": 2, "processors": 3}, MADE / 2 + 5 * 0.5),
        ("async", 0.5, {"processors": 1}, MADE + 40 * 0.5),  # one core for both
    ],
)
def test_the_slower_role_decides(
    schedule: str, update: float, changes: dict[str, Any], end: float
) -> None:
    found = estimate(schedule, update, **changes)
    assert found.synthesis_seconds == MADE
    assert found.distillation_seconds == 40 * update
    assert found.end_to_end_seconds == pytest.approx(end)


def test_memory_is_that_of_a_process_its_role_and_the_bank() -> None:
    found = estimate("async", 0.5)
    assert found.bank_bytes == 10 * 4 * 7
    assert found.synthesizer_peak_memory_bytes == 100 + 30
    assert found.trainer_peak_memory_bytes == 100 + 50 + found.bank_bytes
