"""A role that has a part of a GPU allocates at most that part of its memory."""

from __future__ import annotations

from typing import Any

import pytest
import ray
import torch

from fastdfkd.trainers import gpu_share
from fastdfkd.trainers.gpu_share import assigned_gpu, free_gpu_memory, limit_gpu_memory

GPU = torch.device("cuda:0")


class Context:
    """Of an actor to which Ray assigned some resources; without any: of the driver."""

    def __init__(self, **assigned: float):
        self.assigned = assigned

    def get_actor_id(self) -> str | None:
        return "actor" if self.assigned else None

    def get_assigned_resources(self) -> dict[str, float]:
        assert self.assigned, "Ray refuses this in a driver"
        return self.assigned


@pytest.mark.parametrize(
    ("assigned", "part"),
    [({}, 1.0), ({"CPU": 1.0}, 1.0), ({"CPU": 1.0, "GPU": 0.25}, 0.25), ({"GPU": 2.0}, 1.0)],
)
def test_the_limit_is_the_part_that_ray_assigned(
    monkeypatch: pytest.MonkeyPatch, assigned: dict[str, float], part: float
) -> None:
    limits: list[Any] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: Context(**assigned))
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda *limit: limits.append(limit)
    )
    assert assigned_gpu() == part
    limit_gpu_memory("cpu")
    assert limits == []
    limit_gpu_memory(GPU)
    assert limits == ([(part, GPU)] if part < 1 else [])


def test_without_ray_there_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_share.ray, "is_initialized", lambda: False)
    assert assigned_gpu() == 1.0


def test_free_memory_is_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (700, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 100)
    assert free_gpu_memory(GPU) == 700, "others have the rest"
    assert free_gpu_memory(GPU, 0.5) == 400
    assert free_gpu_memory(GPU, 0.05) == 0


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_real_actor_and_its_driver_can_ask() -> None:
    actor = ray.remote(Asks).remote()
    assert ray.get(actor.part.remote()) == assigned_gpu() == 1.0


class Asks:
    """An actor that says which part of a GPU it has."""

    def part(self) -> float:
        return assigned_gpu()
