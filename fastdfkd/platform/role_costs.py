"""What a step of each role costs on this cluster, measured in a Ray task where a role would run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError

from fastdfkd.core.step_costs import StepCosts, synthesis_costs, update_costs
from fastdfkd.experiment import Experiment
from fastdfkd.platform.actors import stored
from fastdfkd.platform.placement import PlacementError, Plan

SECONDS = 3.0
"""Seconds that the measurement of a role may take, roughly."""
PATIENCE = 120.0
"""Seconds for imports, for building both roles and for measuring them."""


@dataclass(frozen=True)
class RoleCosts:
    """Of one synthesizer, and of one trainer that makes whole updates, each on a core or a GPU."""

    synthesis: StepCosts
    update: StepCosts

    @classmethod
    def measured(cls, experiment: Experiment, device: str) -> RoleCosts:
        """Measure in this process."""
        synthesis = synthesis_costs(experiment.synthesis, experiment.task(device), seconds=SECONDS)
        update = update_costs(
            experiment.recipe.distillation, experiment.task(device), seconds=SECONDS
        )
        return cls(synthesis, update)

    @classmethod
    def on_cluster(cls, experiment: Experiment, plan: Plan) -> RoleCosts:
        """Measure on a node of the cluster, with a core or a whole GPU.

        Raises:
            PlacementError: there is no answer within `platform.start_timeout_s` and `PATIENCE`.
            ValueError: a network of the user's cannot be sent to another process.
        """
        gpus = 1 if plan.device == "cuda" else 0
        task: Any = _measure.options(num_cpus=1, num_gpus=gpus)
        limit = experiment.recipe.platform.start_timeout_s + PATIENCE
        answer = task.remote(stored(experiment), plan.device)
        try:
            found: RoleCosts = ray.get(answer, timeout=limit)
        except GetTimeoutError as error:
            ray.cancel(answer, force=True)
            raise PlacementError(
                f"platform.synthesis_share auto: a task with 1 CPU and {gpus} GPU did not measure "
                f"the roles within {limit:g} s. Wait for other jobs to end, raise "
                "platform.start_timeout_s, or set platform.synthesis_share to a number"
            ) from error
        return found


@ray.remote(max_retries=1)
def _measure(experiment: Experiment, device: str) -> RoleCosts:
    return RoleCosts.measured(experiment, device)
