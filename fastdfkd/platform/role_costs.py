"""What a step of each role costs on this cluster, measured in a Ray task where a role would run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray

from fastdfkd.core.step_costs import StepCosts, synthesis_costs, update_costs
from fastdfkd.experiment import Experiment
from fastdfkd.platform.actors import stored
from fastdfkd.platform.placement import Plan

SECONDS = 3.0
"""Seconds that the measurement of a role may take, roughly."""


@dataclass(frozen=True)
class RoleCosts:
    """Of one synthesizer, and of one trainer that makes whole updates."""

    synthesis: StepCosts
    update: StepCosts
    threads: int = 1
    """Cores of the process, if it was measured on a CPU."""

    @classmethod
    def measured(cls, experiment: Experiment, device: str, threads: int = 1) -> RoleCosts:
        """Measure in this process."""
        synthesis = synthesis_costs(
            experiment.synthesis, experiment.task(device), threads=threads, seconds=SECONDS
        )
        update = update_costs(
            experiment.recipe.distillation,
            experiment.task(device),
            threads=threads,
            seconds=SECONDS,
        )
        return cls(synthesis, update, threads)

    @classmethod
    def on_cluster(cls, experiment: Experiment, plan: Plan) -> RoleCosts:
        """Measure on a node of the cluster, with a core or a whole GPU.

        Raises:
            ValueError: a network of the user's cannot be sent to another process.
        """
        gpus = 1 if plan.device == "cuda" else 0
        task: Any = _measure.options(num_cpus=1, num_gpus=gpus)
        found: RoleCosts = ray.get(task.remote(stored(experiment), plan.device))
        return found


@ray.remote(max_retries=1)
def _measure(experiment: Experiment, device: str) -> RoleCosts:
    return RoleCosts.measured(experiment, device)
