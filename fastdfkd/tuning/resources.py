"""What a trial costs, and so how many run at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastdfkd.platform.placement import Plan
from fastdfkd.recipe import Recipe, load_recipe

_LIGHT = {"memory": float(1024**2)}
"""Share of a trial's own process when the student trains elsewhere: Tune refuses nothing at all,
and the smallest share of a CPU would not fit beside trials that fill the machine."""


@dataclass(frozen=True)
class TrialCost:
    """Resources of one trial."""

    head: dict[str, float]
    """Of the trial's own process, which Tune reserves; it trains the student if `workers` is 0."""
    total: dict[str, float]
    """With the synthesizers and workers, which the run reserves itself."""

    @classmethod
    def of(cls, recipe: Recipe, cluster: Mapping[str, float]) -> TrialCost:
        """Cost of a recipe's run on a cluster.

        Raises:
            PlacementError: the cluster is too small for one.
        """
        plan = Plan.of(recipe, cluster)
        placed = {
            kind: plan.synthesizers * share + plan.workers * plan.worker[kind]
            for kind, share in plan.synthesizer.items()
        }
        if plan.workers:
            return cls(dict(_LIGHT), placed)
        total = {kind: share + plan.worker[kind] for kind, share in placed.items()}
        if any(share > cluster.get(kind, 0.0) + 1e-6 for kind, share in total.items()):
            return cls(dict(_LIGHT), placed)  # as in a single run, the trainer takes what is left
        return cls(dict(plan.worker), total)


def concurrent_trials(cost: TrialCost, cluster: Mapping[str, float]) -> int:
    """Trials that fit on the cluster side by side, at least 1."""
    fits = [cluster.get(kind, 0.0) / share for kind, share in cost.total.items() if share > 0]
    return max(math.floor(min(fits) + 1e-6), 1)


def most_costly(recipes: Sequence[Recipe], cluster: Mapping[str, float]) -> TrialCost:
    """The largest head and the largest total over recipes, resource by resource."""
    costs = [TrialCost.of(recipe, cluster) for recipe in recipes]
    heads = [cost.head for cost in costs]
    totals = [cost.total for cost in costs]
    return TrialCost(_largest(heads), _largest(totals))


def pinned_gpus(recipe: Recipe, cluster: Mapping[str, float]) -> Recipe:
    """The recipe with the GPU shares that it has now: a cluster that grows does not change them."""
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
