"""Placement: share out the cluster's resources among the roles, check and reserve them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray.autoscaler.sdk import request_resources
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from fastdfkd.platform import head
from fastdfkd.platform.cluster import (
    cluster_resources,
    free_resources,
    node_cpus,
    node_memory,
)
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.recipe.device_choices import with_cuda_choices
from fastdfkd.trainers.calls import SAY_EVERY_SECONDS

log = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
EQUAL = 0.5
"""Share of synthesis where nothing is known about the costs of the roles."""


class PlacementError(ValueError):
    """The cluster has fewer resources than the recipe asks for; the message names both."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Device, number of processes and resources of each role."""

    device: Literal["cpu", "cuda"]
    synthesizers: int
    workers: int
    """Worker processes; 0 trains in the driver."""
    synthesizer: dict[str, float]
    """Resources of one synthesizer: `CPU`, and `GPU` on CUDA."""
    worker: dict[str, float]
    """Resources of one worker process."""

    @classmethod
    def of(cls, recipe: Recipe, cluster: Mapping[str, float]) -> Plan:
        """Share out a cluster's resources (as `ray.cluster_resources()` gives them).

        Each process of a role gets a GPU where there are enough, else an equal fraction of one.

        Raises:
            PlacementError: the cluster is too small.
        """
        plan = cls.wanted(recipe, cluster)
        plan._check(cluster)
        return plan

    @classmethod
    def wanted(cls, recipe: Recipe, cluster: Mapping[str, float]) -> Plan:
        """`of` without the check; if CUDA is named and there is no GPU, each process gets one."""
        platform = recipe.platform
        gpus = cluster.get("GPU", 0.0)
        device = platform.device
        if device == "auto":
            device = "cuda" if gpus > 0 else "cpu"
        processes = platform.synthesizers + max(platform.workers, 1)
        share = min(gpus / processes, 1.0) or 1.0
        synthesizer = {"CPU": platform.cpus_per_synthesizer}
        worker = {"CPU": platform.cpus_per_worker}
        if device == "cuda":
            synthesizer["GPU"] = platform.gpus_per_synthesizer or share
            worker["GPU"] = platform.gpus_per_worker or share
        return cls(
            device=device,
            synthesizers=platform.synthesizers,
            workers=platform.workers,
            synthesizer=synthesizer,
            worker=worker,
        )

    @staticmethod
    def threads(resources: Mapping[str, float]) -> int:
        """Number of torch threads for a process with these resources: its cores, at least 1."""
        return max(int(resources["CPU"]), 1)

    def _check(self, cluster: Mapping[str, float]) -> None:
        if self.device == "cuda" and not cluster.get("GPU"):
            raise PlacementError(
                "platform.device is cuda, but the cluster has no GPU: set platform.device to cpu "
                "or auto, or add a node with a GPU"
            )
        for kind in self.synthesizer:
            asked = self.synthesizers * self.synthesizer[kind] + self.workers * self.worker[kind]
            if asked > cluster.get(kind, 0.0) + 1e-6:
                raise PlacementError(
                    f"the recipe asks for {asked:g} {kind} ({self.synthesizers} synthesizers with "
                    f"{self.synthesizer[kind]:g} and {self.workers} workers with "
                    f"{self.worker[kind]:g} each), the cluster has {cluster.get(kind, 0.0):g}: "
                    "lower platform.synthesizers, platform.workers or their "
                    f"{kind.lower()}s_per_..., add nodes, or set platform.autoscale_timeout_s "
                    "where an autoscaler adds them"
                )


def check_memory(plan: Plan, bank_bytes: int) -> None:
    """Check that a node has memory for the bank: every trainer holds all of its images.

    Raises:
        PlacementError: trainers run on CPU, and `bank_bytes` exceed the largest node's memory.
    """
    available = node_memory()
    if plan.device == "cpu" and bank_bytes > available:
        raise PlacementError(
            f"the bank's images take {bank_bytes / 1e9:,.1f} GB in every trainer, the largest "
            f"node has {available / 1e9:,.1f} GB: set bank.capacity to fewer images or "
            "bank.location to disk, or lower synthesis.rounds or synthesis.batch_size"
        )


def fitted(recipe: Recipe, cluster: Mapping[str, float], node_cpus: float) -> Recipe:
    """Fill in what the recipe leaves open: process counts, shares, and what a GPU decides.

    GPUs are split between the roles by `platform.synthesis_share`, one process per GPU; a single
    GPU is shared in fractions. Without GPUs, one synthesizer and the driver, which trains, split
    the cores of a node; in lock-step, where they take turns, each gets all cores. On GPUs the run
    is in bfloat16 with CUDA graphs unless the recipe says otherwise (`recipe/device_choices.py`).

    Args:
        recipe: any recipe; values that it sets stay. A share `auto` stands for one half here:
            `api/role_share.py` replaces it before a run.
        cluster: resources as `ray.cluster_resources()` returns them.
        node_cpus: cores of the smallest node; a process runs on one node.
    """
    platform, gpus = recipe.platform, int(cluster.get("GPU", 0.0))
    share = EQUAL if platform.synthesis_share == "auto" else platform.synthesis_share
    chosen: dict[str, float] = {}
    if platform.device == "cpu" or gpus == 0:
        cores = max(node_cpus, 1.0)
        chosen["cpus_per_synthesizer"] = max(float(round(cores * share)), 1.0)
        chosen["cpus_per_worker"] = max(cores - chosen["cpus_per_synthesizer"], 1.0)
        if platform.schedule == "lockstep":
            chosen = dict.fromkeys(chosen, cores)
        if {"synthesizers", "workers"} & platform.model_fields_set:
            chosen = {}  # the user chose the layout; keep the defaults
    elif gpus == 1:
        chosen = {"workers": 1}
        if platform.synthesizers == 1 and platform.workers <= 1:
            chosen |= {"gpus_per_synthesizer": share, "gpus_per_worker": 1 - share}
    else:
        chosen["synthesizers"] = min(max(round(gpus * share), 1), gpus - 1)
        if "workers" in platform.model_fields_set:
            chosen["synthesizers"] = max(gpus - max(platform.workers, 1), 1)
        elif "synthesizers" in platform.model_fields_set:
            chosen["synthesizers"] = platform.synthesizers
        gpus_left = max(gpus - int(chosen["synthesizers"]), 1)
        batch = recipe.distillation.batch_size
        chosen["workers"] = max(count for count in range(1, gpus_left + 1) if batch % count == 0)
    unset = {
        f"platform.{key}": value
        for key, value in chosen.items()
        if key not in platform.model_fields_set
    }
    recipe = load_recipe(recipe, unset) if unset else recipe
    return with_cuda_choices(recipe) if platform.device != "cpu" and gpus else recipe


def fitted_here(recipe: Recipe) -> Recipe:
    """`fitted` for the cluster that this process is connected to."""
    return fitted(recipe, cluster_resources(), node_cpus())


def check_places(recipes: Iterable[Recipe]) -> None:
    """Check that this cluster is large enough for each recipe, without waiting for an autoscaler.

    Recipes with `platform.autoscale_timeout_s` are not checked: their nodes may come later.

    Raises:
        PlacementError: it is too small for one of them.
    """
    for recipe in recipes:
        if recipe.platform.autoscale_timeout_s is None:
            Plan.of(fitted_here(recipe), cluster_resources())


def planned(recipe: Recipe) -> Plan:
    """The plan of a recipe on this cluster; waits for an autoscaler to add missing resources.

    Raises:
        PlacementError: the cluster is still too small after `platform.autoscale_timeout_s`.
    """
    since = last_logged = time.monotonic()
    requested = False
    try:
        while True:
            try:
                return Plan.of(recipe, cluster_resources())
            except PlacementError as error:
                now = time.monotonic()
                if now - since >= (recipe.platform.autoscale_timeout_s or 0.0):
                    raise
                if not requested or now - last_logged > SAY_EVERY_SECONDS:
                    last_logged = now
                    log.warning("waiting for the autoscaler for %.0f s: %s", now - since, error)
            if not requested:
                plan = Plan.wanted(recipe, cluster_resources())
                bundles = [plan.synthesizer] * plan.synthesizers
                request_resources(bundles=[*bundles, *[plan.worker] * plan.workers])
                requested = True
            time.sleep(_POLL_SECONDS)
    finally:
        if requested:
            request_resources(bundles=[])


@contextmanager
def reserved(plan: Plan, timeout_s: float) -> Iterator[Any]:
    """A placement group with one bundle per synthesizer, removed at the end of the block.

    Raises:
        PlacementError: the cluster did not grant it within `timeout_s` seconds.
    """
    group = placement_group([plan.synthesizer] * plan.synthesizers, strategy="PACK")
    try:
        if not group.wait(timeout_s):
            raise PlacementError(
                f"waited {timeout_s:g} s for {plan.synthesizers} synthesizers with "
                f"{plan.synthesizer} each; free now: {_short(free_resources())} of "
                f"{_short(cluster_resources())}. Wait for other jobs to end, ask for less, or "
                "raise platform.start_timeout_s"
            )
        yield group
    finally:
        if not head.is_lost():  # the call would never return without a head
            remove_placement_group(group)


def in_bundle(group: Any, index: int) -> PlacementGroupSchedulingStrategy:
    """Scheduling strategy of synthesizer `index`: its bundle of the placement group."""
    return PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)


def on_driver_node() -> NodeAffinitySchedulingStrategy:
    """Scheduling strategy of bank and board: the driver's node, whose loss ends the run anyway.

    They take no CPU, so they always fit there. A soft affinity placed them on spot nodes.
    """
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _short(resources: Mapping[str, float]) -> dict[str, float]:
    return {kind: round(resources.get(kind, 0.0), 3) for kind in ("CPU", "GPU")}
