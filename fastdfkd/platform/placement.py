"""What runs where: checked against the cluster before anything starts, then reserved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from fastdfkd.platform.cluster import cluster_resources, free_resources
from fastdfkd.recipe import Recipe


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

        GPUs are divided evenly over the roles' processes: whole ones where there are enough, else
        fractions of one.

        Raises:
            PlacementError: the cluster is too small.
        """
        platform = recipe.platform
        gpus = cluster.get("GPU", 0.0)
        device = platform.device
        if device == "auto":
            device = "cuda" if gpus > 0 else "cpu"
        processes = platform.synthesizers + max(platform.workers, 1)
        share = max(gpus // processes, 1.0) if gpus >= processes else gpus / processes
        synthesizer = {"CPU": platform.cpus_per_synthesizer}
        worker = {"CPU": platform.cpus_per_worker}
        if device == "cuda":
            if gpus == 0:
                raise PlacementError(
                    "platform.device is cuda, but the cluster has no GPU: set platform.device to "
                    "cpu or auto, or add a node with a GPU"
                )
            synthesizer["GPU"] = platform.gpus_per_synthesizer or share
            worker["GPU"] = platform.gpus_per_worker or share
        plan = cls(
            device=device,
            synthesizers=platform.synthesizers,
            workers=platform.workers,
            synthesizer=synthesizer,
            worker=worker,
        )
        plan._check(cluster)
        return plan

    @staticmethod
    def threads(resources: Mapping[str, float]) -> int:
        """Processor threads of a role, from the cores it was given."""
        return max(int(resources["CPU"]), 1)

    def _check(self, cluster: Mapping[str, float]) -> None:
        for kind in self.synthesizer:
            asked = self.synthesizers * self.synthesizer[kind] + self.workers * self.worker[kind]
            if asked > cluster.get(kind, 0.0) + 1e-6:
                raise PlacementError(
                    f"the recipe asks for {asked:g} {kind} ({self.synthesizers} synthesizers with "
                    f"{self.synthesizer[kind]:g} and {self.workers} workers with "
                    f"{self.worker[kind]:g} each), the cluster has {cluster.get(kind, 0.0):g}: "
                    "lower platform.synthesizers, platform.workers or their "
                    f"{kind.lower()}s_per_..., or add nodes"
                )


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
