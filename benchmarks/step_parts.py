"""The time of each part of a step, called on its own with the inputs of the step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import Case
from benchmarks.timing import Work, alternated
from fastdfkd.core.augment import Augmentation
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.fused_norm import recording
from fastdfkd.core.meta_gradient import BETAS
from fastdfkd.core.methods.fast import FastSynthesizer
from fastdfkd.core.optimizers import Adam
from fastdfkd.core.precision import autocast
from fastdfkd.core.random_streams import stream


def synthesis_parts(
    case: Case, synthesizer: FastSynthesizer, z: Tensor, labels: Tensor, repeats: int
) -> dict[str, float]:
    """Median seconds of each part of a synthesis step, with its backward pass if it has one.

    Parts run alone with warm caches, so their sum is not exactly the time of the step.
    """
    objective, device = synthesizer.objective, case.device
    layout: Any = {"memory_format": torch.channels_last}
    inputs = torch.randn(len(z), *case.image_shape, device=device).contiguous(**layout)
    inputs.requires_grad_()
    pixels = torch.rand_like(inputs).requires_grad_()
    weights = [p.detach().clone().requires_grad_() for p in synthesizer.meta.generator.parameters()]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    adam = Adam(weights, 1e-3, BETAS)
    randomness = stream(0, "parts", device=device)

    def forward(network: Any, x: Tensor) -> Tensor:
        with autocast(device, objective.precision):
            output: Tensor = network(x)
        return output

    def recorded() -> None:
        with recording(objective.fused_teacher, objective.statistics.record):
            forward(objective.fused_teacher, inputs)
            objective.statistics.loss()

    def augmented() -> Tensor:
        section = case.synthesis
        options = section.crop_padding, section.flip, section.invert
        return case.normalisation(Augmentation.draw(len(z), *options, randomness)(pixels))

    def both(work: Any) -> Work:
        return lambda: work().float().sum().backward()

    def teacher_step() -> Tensor:
        with recording(objective.fused_teacher, objective.statistics.record):
            logits = forward(objective.fused_teacher, inputs)
            return logits.sum() + objective.statistics.loss()

    works: dict[str, Work] = {
        "teacher forward": recorded,
        "teacher forward + input gradient": both(teacher_step),
        "student": both(lambda: forward(objective.fused_student, inputs)),
        "generator": both(lambda: forward(synthesizer.meta.generator, z)),
        "optimiser": adam.step,
        "augmentation": both(augmented),
    }
    return alternated(works, device, repeats)


def update_parts(case: Case, distiller: StudentDistiller, repeats: int) -> dict[str, float]:
    """Median seconds of each part of a student update."""
    batch, device = case.distillation.batch_size, case.device
    bank = case.bank(2 * batch)
    randomness = stream(0, "parts", device=device)
    layout: Any = {"memory_format": torch.channels_last}
    inputs = torch.randn(batch, *case.image_shape, device=device).contiguous(**layout)

    def teacher() -> None:
        with autocast(device, distiller.precision), torch.inference_mode():
            distiller.teacher(inputs)

    def student() -> None:
        distiller.optimizer.zero_grad()
        with autocast(device, distiller.precision):
            logits: Tensor = distiller.module(inputs)
        logits.float().square().mean().backward()  # type: ignore[no-untyped-call]

    def augmentation() -> None:
        images = bank.draw(batch, randomness)
        section = case.distillation
        options = section.crop_padding, section.flip, section.invert
        move = Augmentation.draw(batch, *options, randomness)
        case.normalisation.from_uint8(move.apply(images)).contiguous(**layout)

    works: dict[str, Work] = {
        "teacher forward": teacher,
        "student forward + backward": student,
        "optimiser": distiller.optimizer.step,
        "draw + augmentation": augmentation,
    }
    return alternated(works, device, repeats)
