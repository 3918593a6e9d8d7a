"""The cases of the benchmarks: pairs of networks with random weights, and a recipe's settings."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.plain_sections import distillation_section, fast_section
from fastdfkd.core.augment import Normalisation
from fastdfkd.core.batch import Provenance, SyntheticBatch, to_uint8
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.methods.fast import FastSynthesizer
from fastdfkd.core.random_streams import seeded
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.core.task import Task
from fastdfkd.core.task_kind import Classification
from fastdfkd.models import build_network

if TYPE_CHECKING:
    from fastdfkd.recipe import DistillationSection, FastSynthesis

SAMPLES = Path(__file__).parents[1] / "recipes" / "sample"


@dataclass(frozen=True)
class Case:
    """A teacher, a student, and the settings of a synthesis step and a student update."""

    name: str
    teacher: nn.Module
    student: nn.Module
    synthesis: FastSynthesis
    distillation: DistillationSection
    image_shape: tuple[int, int, int]
    num_classes: int
    device: torch.device

    @property
    def normalisation(self) -> Normalisation:
        """Mean 0.5 and deviation 0.25 in all channels."""
        channels = self.image_shape[0]
        return Normalisation([0.5] * channels, [0.25] * channels, self.device)

    def task(self, precision: Any, capture: bool = False, compile: bool = False) -> Task:
        """A task with copies of the networks."""
        return Task(
            teacher=copy.deepcopy(self.teacher),
            student=copy.deepcopy(self.student),
            image_shape=self.image_shape,
            kind=Classification(self.num_classes),
            normalisation=self.normalisation,
            seed=0,
            device=self.device,
            precision=precision,
            capture=capture,
            compile=compile,
        )

    def synthesizer(
        self, precision: Any, capture: bool = False, compile: bool = False
    ) -> FastSynthesizer:
        """The package's synthesizer, with copies of the networks."""
        return FastSynthesizer(self.synthesis, self.task(precision, capture, compile))

    def distiller(
        self, precision: Any, capture: bool = False, compile: bool = False
    ) -> StudentDistiller:
        """The package's distiller, with copies of the networks."""
        task = self.task(precision, capture, compile)
        return StudentDistiller(self.distillation, task, total_updates=10_000)

    def latents(self) -> tuple[Tensor, Tensor]:
        """Latent codes (B, latent_dim) and labels (B,)."""
        count, section = self.synthesis.batch_size, self.synthesis
        z = torch.randn(count, section.latent_dim, device=self.device)
        return z, torch.randint(self.num_classes, (count,), device=self.device)

    def bank(self, count: int) -> SampleBuffer:
        """A buffer with `count` random images."""
        bank = SampleBuffer(count, self.image_shape, self.device)
        bank.extend(torch.randint(0, 256, (count, *self.image_shape), dtype=torch.uint8))
        return bank

    def store(self, images: Tensor, bank: SampleBuffer) -> None:
        """Convert finished float images to uint8 and insert them into the bank."""
        pixels = to_uint8(images).contiguous()
        labels = torch.zeros(len(pixels), dtype=torch.int64)
        bank.insert(SyntheticBatch(images=pixels, labels=labels, provenance=Provenance(round=0)))


def pair_case(
    pair: str, device: torch.device, images: int, steps: int, batch: int, side: int = 32
) -> Case:
    """A pair `teacher/student` with the paper's settings, and given batch sizes and image side."""
    teacher, student = pair.split("/")
    return _case(
        pair,
        (teacher, student),
        fast_section(batch_size=images, steps=steps),
        distillation_section(batch_size=batch),
        (3, side, side),
        10,
        device,
    )


def recipe_case(name: str, device: torch.device, images: int, steps: int, batch: int) -> Case:
    """A sample recipe with the given batch sizes and without the cache of teacher logits."""
    from fastdfkd.experiment import image_spec  # needs more than torch
    from fastdfkd.recipe import FastSynthesis, load_recipe

    recipe = load_recipe(SAMPLES / f"{name}.yaml")
    spec = image_spec(recipe)
    assert isinstance(recipe.synthesis, FastSynthesis)
    return _case(
        name,
        (recipe.teacher.model, recipe.student.model),
        recipe.synthesis.model_copy(update={"batch_size": images, "steps": steps}),
        recipe.distillation.model_copy(update={"batch_size": batch, "teacher_cache": None}),
        spec.shape,
        spec.num_classes,
        device,
    )


def _case(
    name: str,
    networks: tuple[str, str],
    synthesis: FastSynthesis,
    distillation: DistillationSection,
    image_shape: Any,
    num_classes: int,
    device: torch.device,
) -> Case:
    """Build networks from seed 0. BatchNorm statistics are those of noise, to scale activations."""
    with seeded(0, "benchmark"):
        teacher, student = (build_network(n, num_classes, image_shape[0]) for n in networks)
        for network in (teacher, student):
            for layer in network.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.momentum = None
            with torch.no_grad():
                network.train()(torch.randn(32, *image_shape))
            for layer in network.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.momentum = 0.1
    return Case(
        name,
        teacher.eval().to(device),
        student.eval().to(device),
        synthesis,
        distillation,
        tuple(image_shape),
        num_classes,
        device,
    )
