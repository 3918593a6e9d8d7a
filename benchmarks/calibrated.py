"""A synthesizer and a distiller that sleep instead of computing, to measure the platform's cost.

They implement the protocols of `core/interfaces.py` and replace the real ones in
`Experiment.synthesizer` and `Experiment.distiller`. Actors, bank, rate limiter, board and the Ray
Train loop are the real ones. Sleeping uses no CPU, so the roles do not compete for cores.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fastdfkd.core.batch import Provenance, SyntheticBatch
from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.interfaces import MetaUpdate, SampleBank
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.random_streams import stream
from fastdfkd.data import LabelledImages, RealImages
from fastdfkd.experiment import Experiment
from fastdfkd.models import build_network
from fastdfkd.recipe import Recipe

SHAPE = (3, 32, 32)
SPEC = ImageSpec(name="none", shape=SHAPE, num_classes=10, mean=(0.5,) * 3, std=(0.25,) * 3)


@dataclass(frozen=True)
class Costs:
    """How long the roles sleep."""

    synthesis: float
    """Seconds per batch."""
    update: float
    """Seconds per student update."""


def sleep_until(end: float) -> None:
    """Return at Unix time `end`, or at once if it has passed."""
    time.sleep(max(end - time.time(), 0.0))


class SleepingSynthesizer:
    """Implements `Synthesizer`: random images, ready after `seconds`."""

    def __init__(self, seconds: float, batch_size: int):
        self.seconds, self.made = seconds, 0
        self.images = torch.randint(0, 256, (batch_size, *SHAPE), dtype=torch.uint8)
        self.version = 0

    def load_student(self, state: Mapping[str, Tensor], version: int) -> None:
        """Keep the version only."""
        self.version = version

    def make(self, round: int, attempt: int = 0) -> tuple[SyntheticBatch, MetaUpdate]:
        """The same images, rolled by `round`."""
        start = time.time()
        images = self.images.roll(round, 0)
        sleep_until(start + self.seconds)
        self.made += 1
        provenance = Provenance(
            round=round, student_version=self.version, synthesis_seconds=time.time() - start
        )
        labels = torch.zeros(len(images), dtype=torch.int64)
        batch = SyntheticBatch(images=images, labels=labels, provenance=provenance)
        return batch, MetaUpdate(round, [])

    def learn(self, updates: Sequence[MetaUpdate]) -> None:
        """Do nothing: there is no shared generator."""

    def synthesize(self, round: int, attempt: int = 0) -> SyntheticBatch:
        """The batch of `make`."""
        return self.make(round, attempt)[0]

    def state_dict(self) -> dict[str, Any]:
        """The number of batches made."""
        return {"made": self.made}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict`."""
        self.made = state["made"]


class SleepingDistiller:
    """Implements `Distiller`: draws from the bank, then sleeps until `seconds` have passed."""

    lr = 0.1

    def __init__(self, seconds: float, student: nn.Module, batch_size: int):
        self.seconds, self.module, self.batch_size = seconds, student, batch_size
        self.updates = 0

    def update(self, bank: SampleBank) -> Tensor:
        """One update. The student does not change."""
        start = time.time()
        drawn = bank.draw(self.batch_size, stream(0, "distillation", self.updates, 0))
        assert len(drawn) == self.batch_size
        sleep_until(start + self.seconds)
        self.updates += 1
        return torch.zeros(())

    def student_state(self) -> dict[str, Tensor]:
        """Real weights, so that publishing them has its real cost."""
        return self.module.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Student and number of updates."""
        return {"student": self.module.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the number of updates."""
        self.updates = state["updates"]


@dataclass(frozen=True, kw_only=True)
class CalibratedExperiment(Experiment):
    """An experiment with a sleeping synthesizer and a sleeping distiller."""

    costs: Costs

    @classmethod
    def make(cls, recipe: Recipe, costs: Costs) -> CalibratedExperiment:
        """Build the recipe's real networks, and ten random images for evaluation."""
        return cls(
            recipe=recipe,
            teacher=build_network(recipe.teacher.model, SPEC.num_classes, SHAPE[0]),
            student=build_network(recipe.student.model, SPEC.num_classes, SHAPE[0]),
            spec=SPEC,
            student_spec=SPEC,
            synthesis=recipe.synthesis,
            choice="",
            judge=RealImages(
                LabelledImages(
                    torch.randint(0, 256, (10, *SHAPE), dtype=torch.uint8),
                    torch.zeros(10, dtype=torch.int64),
                ),
                SPEC.kind,
            ),
            teacher_use=NetworkUse(),
            student_use=NetworkUse(),
            costs=costs,
        )

    def synthesizer(self, device: Any = "cpu", index: int = 0) -> SleepingSynthesizer:
        """A synthesizer that sleeps."""
        return SleepingSynthesizer(self.costs.synthesis, self.recipe.synthesis.batch_size)

    def distiller(self, device: Any = "cpu", **worker: Any) -> Any:
        """A distiller that sleeps."""
        share = self.recipe.distillation.batch_size // worker["world_size"]
        return SleepingDistiller(self.costs.update, self.student, share)
