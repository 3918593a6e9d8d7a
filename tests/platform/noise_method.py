"""A method whose images are random, for runs in which only their number and size matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch

from fastdfkd.core.batch import Provenance, SyntheticBatch
from fastdfkd.core.interfaces import StateDict
from fastdfkd.core.random_streams import batch_stream, stream
from fastdfkd.core.task import Task
from fastdfkd.recipe import SynthesisSection


class NoiseSynthesis(SynthesisSection):
    """Keys of the method."""

    implementation: ClassVar[str] = f"{__name__}:Noise"

    method: Literal["noise"]
    """Selects it."""


class Noise:
    """Implements `Synthesizer`: random images, which cost nothing and differ in every round."""

    def __init__(self, section: NoiseSynthesis, task: Task, index: int = 0):
        self.task, self.index, self.version = task, index, 0
        self.shape = section.batch_size, *task.image_shape

    def load_student(self, state: StateDict, version: int) -> None:
        self.version = version

    def synthesize(self, round: int, attempt: int = 0) -> SyntheticBatch:
        images = noise(self.task.seed, round, self.shape, attempt)
        labels = torch.arange(len(images)) % 10
        provenance = Provenance(
            round=round,
            synthesizer=self.index,
            student_version=self.version,
            generator_version=0,
            losses={"loss": 0.0},
        )
        return SyntheticBatch(images=images, labels=labels, provenance=provenance)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def noise(seed: int, round: int, shape: Sequence[int], attempt: int = 0) -> torch.Tensor:
    """Images of a round, (B, C, H, W) uint8."""
    draws = stream(seed, *batch_stream(round, attempt))
    return torch.randint(256, tuple(shape), dtype=torch.uint8, generator=draws)
