"""`platform.synthesis_share: auto`: the share of the machine with which the run ends first."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastdfkd.api.estimate import Roles, estimated
from fastdfkd.data import NothingHeldOut
from fastdfkd.experiment import Experiment
from fastdfkd.platform.cluster import cluster_resources, node_cpus
from fastdfkd.platform.placement import EQUAL, Plan, fitted
from fastdfkd.platform.role_costs import RoleCosts
from fastdfkd.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

_KEY = "platform.synthesis_share"
_LEAST, _MOST = 0.1, 0.9
"""Of the memory of a shared GPU."""


@dataclass(frozen=True)
class Division:
    """A recipe that is fitted to a machine with one share, and what its run would take."""

    recipe: Recipe
    """With a number as its share; what the share decides is set."""
    plan: Plan
    seconds: float
    """From the first draw to the last update."""
    synthesizers_idle: float
    """Part of `seconds` in which a synthesizer waits."""
    trainers_idle: float
    """The same for a trainer."""

    @property
    def line(self) -> str:
        """What was chosen and why, in a sentence."""
        plan, kind = self.plan, "GPU" if self.plan.device == "cuda" else "CPU"
        return (
            f"{_KEY} auto: {self.recipe.platform.synthesis_share:.3g}. By measured steps, "
            f"{plan.synthesizers} synthesizers with {plan.synthesizer[kind]:g} {kind} would wait "
            f"{self.synthesizers_idle:.0%} of the run, {max(plan.workers, 1)} trainers with "
            f"{plan.worker[kind]:g} {kind} {self.trainers_idle:.0%}"
        )


def settled_here(recipe: Recipe, teacher: nn.Module) -> tuple[Recipe, str]:
    """A recipe whose share is `auto`, with a number for it, and a sentence about it.

    Both roles' steps are measured on the connected cluster, unless the share decides nothing there.

    Raises:
        PlacementError: the cluster has no place for the measurement in time.
        ValueError: teacher, student and recipe do not fit together.
    """
    cluster, cores = cluster_resources(), node_cpus()
    if not decides(recipe, cluster, cores):
        line = f"{_KEY} auto: {EQUAL}, it decides nothing on this machine"
        return load_recipe(recipe, {_KEY: EQUAL}), line
    provisional = fitted(recipe, cluster, cores)
    plan = Plan.wanted(provisional, cluster)
    experiment = Experiment.of(provisional, teacher, plan.device, NothingHeldOut())
    costs = RoleCosts.on_cluster(experiment, plan)
    division = best_division(recipe, costs, cluster, cores)
    log.info("%s", division.line)
    return division.recipe, division.line


def best_division(
    recipe: Recipe, costs: RoleCosts, cluster: Mapping[str, float], node_cpus: float
) -> Division:
    """The division of a machine with which the run ends first.

    A process with n cores is taken to be n times as fast as one with a core, and n trainers n times
    as fast as one. On a single GPU, which both roles use at the same time, the share divides its
    memory: in proportion to what each role needs.

    Args:
        recipe: whose share is `auto`. What else it sets stays.
        costs: of one process of each role.
        cluster: resources as `ray.cluster_resources()` returns them.
        node_cpus: cores of the smallest node.
    """
    shares = _shares(recipe, cluster, node_cpus) or [_memory_share(costs)]
    found = [_division(recipe, share, costs, cluster, node_cpus) for share in shares]
    return min(found, key=lambda division: (division.seconds, division.plan.synthesizers))


def decides(recipe: Recipe, cluster: Mapping[str, float], node_cpus: float) -> bool:
    """Whether the share of a recipe changes anything on a machine."""
    shares = _shares(recipe, cluster, node_cpus) or [_LEAST, _MOST]
    each = [fitted(load_recipe(recipe, {_KEY: share}), cluster, node_cpus) for share in shares]
    plans = [Plan.wanted(recipe, cluster) for recipe in each]
    return any(plan != plans[0] for plan in plans)


def _shares(recipe: Recipe, cluster: Mapping[str, float], node_cpus: float) -> list[float]:
    """A share for each whole number of cards or cores; none if both roles use a single card."""
    plan = Plan.wanted(fitted(recipe, cluster, node_cpus), cluster)
    if plan.device == "cuda":
        cards = int(cluster.get("GPU", 0.0))
        return [card / cards for card in range(1, cards)]
    cores = int(node_cpus)
    return [core / cores for core in range(1, cores)] or [EQUAL]


def _division(
    recipe: Recipe, share: float, costs: RoleCosts, cluster: Mapping[str, float], node_cpus: float
) -> Division:
    recipe = fitted(load_recipe(recipe, {_KEY: share}), cluster, node_cpus)
    plan = Plan.wanted(recipe, cluster)
    kind, workers = "GPU" if plan.device == "cuda" else "CPU", max(plan.workers, 1)
    synthesizer_cores, worker_cores = (
        plan.threads(resources) if plan.device == "cpu" else 1
        for resources in (plan.synthesizer, plan.worker)
    )
    synthesis = replace(
        costs.synthesis,
        seconds=costs.synthesis.seconds / synthesizer_cores,
        warmup_seconds=costs.synthesis.warmup_seconds / synthesizer_cores,
    )
    update = replace(costs.update, seconds=costs.update.seconds / (workers * worker_cores))
    roles = Roles(
        synthesizers=plan.synthesizers,
        workers=workers,
        synthesizer_processors=math.ceil(plan.synthesizer[kind]),
        worker_processors=math.ceil(plan.worker[kind]),
        processors=cluster.get(kind, 1.0),
        process_bytes=0,
    )
    estimate = estimated(recipe, synthesis, update, roles, image_bytes=0)
    end = estimate.end_to_end_seconds
    made, trained = estimate.synthesis_seconds / plan.synthesizers, estimate.distillation_seconds
    return Division(recipe, plan, end, max(1 - made / end, 0.0), max(1 - trained / end, 0.0))


def _memory_share(costs: RoleCosts) -> float:
    needed = costs.synthesis.memory_bytes + costs.update.memory_bytes
    share = costs.synthesis.memory_bytes / needed if needed else EQUAL
    return round(min(max(share, _LEAST), _MOST), 2)
