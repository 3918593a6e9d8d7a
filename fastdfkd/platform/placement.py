"""What runs where: checked against the cluster before anything starts, then reserved."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
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
from fastdfkd.trainers.calls import SAY_EVERY_SECONDS

log = logging.getLogger(__name__)
_POLL_SECONDS = 1.0


class PlacementError(ValueError):
    """The cluster cannot give what the recipe asks for. Says what was asked and what there is."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Devices and shares of the roles."""

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
        """The same, whether the cluster has it or not; on CUDA without a GPU a whole one each."""
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
        """Processor threads of a role, from the cores it was given."""
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
    """Refuse a bank that no node has the memory for: every trainer holds all of its images.

    Raises:
        PlacementError: trainers are on the processor, and `bank_bytes` are more than a node has.
    """
    there = node_memory()
    if plan.device == "cpu" and bank_bytes > there:
        raise PlacementError(
            f"the bank's images take {bank_bytes / 1e9:,.1f} GB in every trainer, the largest "
            f"node has {there / 1e9:,.1f} GB: set bank.capacity to fewer images, or lower "
            "synthesis.rounds or synthesis.batch_size"
        )


def fitted(recipe: Recipe, cluster: Mapping[str, float], node_cpus: float) -> Recipe:
    """The recipe with the numbers and shares of its roles that it does not name itself.

    GPUs are split between the roles by `platform.synthesis_share`, a process each; a single one is
    shared in fractions. Without GPUs one synthesizer and the driver, which trains, split a node;
    in lock-step, where they take turns, each has all of it.

    Args:
        recipe: any; what it names stays.
        cluster: as `ray.cluster_resources()` gives it.
        node_cpus: cores of its smallest node, which a process cannot leave.
    """
    platform, gpus = recipe.platform, int(cluster.get("GPU", 0.0))
    share = platform.synthesis_share
    found: dict[str, float] = {}
    if platform.device == "cpu" or gpus == 0:
        cores = max(node_cpus, 1.0)
        found["cpus_per_synthesizer"] = max(float(round(cores * share)), 1.0)
        found["cpus_per_worker"] = max(cores - found["cpus_per_synthesizer"], 1.0)
        if platform.schedule == "lockstep":
            found = dict.fromkeys(found, cores)
        if {"synthesizers", "workers"} & platform.model_fields_set:
            found = {}  # whoever names one of them knows the cluster
    elif gpus == 1:
        found = {"workers": 1}
        if platform.synthesizers == 1 and platform.workers <= 1:
            found |= {"gpus_per_synthesizer": share, "gpus_per_worker": 1 - share}
    else:
        found["synthesizers"] = min(max(round(gpus * share), 1), gpus - 1)
        if "workers" in platform.model_fields_set:
            found["synthesizers"] = max(gpus - max(platform.workers, 1), 1)
        elif "synthesizers" in platform.model_fields_set:
            found["synthesizers"] = platform.synthesizers
        left = max(gpus - int(found["synthesizers"]), 1)
        batch = recipe.distillation.batch_size
        found["workers"] = max(count for count in range(1, left + 1) if batch % count == 0)
    unnamed = {
        f"platform.{key}": value
        for key, value in found.items()
        if key not in platform.model_fields_set
    }
    return load_recipe(recipe, unnamed) if unnamed else recipe


def fitted_here(recipe: Recipe) -> Recipe:
    """`fitted` to the cluster this process is connected to."""
    return fitted(recipe, cluster_resources(), node_cpus())


def planned(recipe: Recipe) -> Plan:
    """The plan of a recipe on this cluster, once an autoscaler has added what was missing.

    Raises:
        PlacementError: the cluster is too small, still after `platform.autoscale_timeout_s`.
    """
    since = said = time.monotonic()
    asked = False
    try:
        while True:
            try:
                return Plan.of(recipe, cluster_resources())
            except PlacementError as lack:
                now = time.monotonic()
                if now - since >= (recipe.platform.autoscale_timeout_s or 0.0):
                    raise
                if not asked or now - said > SAY_EVERY_SECONDS:
                    said = now
                    log.warning("waiting for the autoscaler since %.0f s: %s", now - since, lack)
            if not asked:
                wanted = Plan.wanted(recipe, cluster_resources())
                bundles = [wanted.synthesizer] * wanted.synthesizers
                request_resources(bundles=[*bundles, *[wanted.worker] * wanted.workers])
                asked = True
            time.sleep(_POLL_SECONDS)
    finally:
        if asked:
            request_resources(bundles=[])


@contextmanager
def reserved(plan: Plan, timeout_s: float) -> Iterator[Any]:
    """A placement group with a bundle for each synthesizer, given back at the end of the block.

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
        if not head.is_lost():  # without it there is nobody who could take it back
            remove_placement_group(group)


def in_bundle(group: Any, index: int) -> PlacementGroupSchedulingStrategy:
    """Scheduling of synthesizer `index`."""
    return PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)


def beside_driver() -> NodeAffinitySchedulingStrategy:
    """Scheduling of the light actors: the driver's node, without which there is no run.

    They take no CPU, so the node is never too full; a soft affinity put them on spot nodes.
    """
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _short(resources: Mapping[str, float]) -> dict[str, float]:
    return {kind: round(resources.get(kind, 0.0), 3) for kind in ("CPU", "GPU")}
