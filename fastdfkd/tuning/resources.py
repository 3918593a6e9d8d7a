"""The resources of a trial, and the number of trials that run at the same time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastdfkd.platform.placement import Plan
from fastdfkd.recipe import Recipe, load_recipe

_MINIMAL = {"memory": float(1024**2)}
"""Resources of a trial's own process when the student trains in other processes. Tune does not
accept an empty bundle, and any share of a CPU would not fit if the trials fill the machine."""


@dataclass(frozen=True)
class TrialCost:
    """Ray resources of one trial."""

    head: dict[str, float]
    """Resources of the trial's own process, reserved by Tune. It trains the student if
    `platform.workers` is 0."""
    total: dict[str, float]
    """`head` plus the synthesizers and workers, which the run reserves itself."""

    @classmethod
    def of(cls, recipe: Recipe, cluster: Mapping[str, float]) -> TrialCost:
        """Resources of a recipe's run on a cluster.

        Raises:
            PlacementError: the cluster is too small for one run.
        """
        plan = Plan.of(recipe, cluster)
        actors = {
            kind: plan.synthesizers * share + plan.workers * plan.worker[kind]
            for kind, share in plan.synthesizer.items()
        }
        if plan.workers:
            return cls(dict(_MINIMAL), actors)
        total = {kind: share + plan.worker[kind] for kind, share in actors.items()}
        if any(share > cluster.get(kind, 0.0) + 1e-6 for kind, share in total.items()):
            return cls(dict(_MINIMAL), actors)  # as in a single run: nothing reserved to train
        return cls(dict(plan.worker), total)


def concurrent_trials(cost: TrialCost, cluster: Mapping[str, float]) -> int:
    """Number of trials that fit on the cluster at the same time, at least 1."""
    ratios = [cluster.get(kind, 0.0) / share for kind, share in cost.total.items() if share > 0]
    return max(math.floor(min(ratios) + 1e-6), 1)


def most_costly(recipes: Sequence[Recipe], cluster: Mapping[str, float]) -> TrialCost:
    """The maximum of each resource over the recipes, for `head` and for `total`."""
    costs = [TrialCost.of(recipe, cluster) for recipe in recipes]
    heads = [cost.head for cost in costs]
    totals = [cost.total for cost in costs]
    return TrialCost(_largest(heads), _largest(totals))


def pinned_gpus(recipe: Recipe, cluster: Mapping[str, float]) -> Recipe:
    """The recipe with its GPU shares on this cluster written out.

    The trials keep these shares if the cluster grows.
    """
    plan = Plan.of(recipe, cluster)
    if plan.device != "cuda":
        return recipe
    changes = {}
    for role, shares in (("synthesizer", plan.synthesizer), ("worker", plan.worker)):
        if getattr(recipe.platform, f"gpus_per_{role}") is None:
            changes[f"platform.gpus_per_{role}"] = shares["GPU"]
    return load_recipe(recipe, changes)


def _largest(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    kinds = {kind for share in shares for kind in share}
    return {kind: max(share.get(kind, 0.0) for share in shares) for kind in sorted(kinds)}
