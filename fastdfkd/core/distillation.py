"""One student update: draw, augment, ask the teacher, follow it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fastdfkd.core.augment import CropFlip, Normalisation
from fastdfkd.core.fused_norm import fused
from fastdfkd.core.interfaces import SampleBank
from fastdfkd.core.layout import load_optimizer
from fastdfkd.core.losses import distillation_loss
from fastdfkd.core.precision import Precision, autocast
from fastdfkd.core.random_streams import stream

if TYPE_CHECKING:
    from fastdfkd.recipe import DistillationSection


class StudentDistiller:
    """Implements `Distiller`: SGD on the KL loss, cosine learning rate, one step a call.

    With several workers each draws its own share of a batch from a stream of its own; `student`
    may be wrapped (DDP) for the forward while `module` stays the bare network.
    """

    def __init__(
        self,
        section: DistillationSection,
        teacher: nn.Module,
        student: nn.Module,
        *,
        total_updates: int,
        normalisation: Normalisation,
        seed: int,
        device: torch.device | str = "cpu",
        precision: Precision = "float32",
        rank: int = 0,
        world_size: int = 1,
        wrapped: nn.Module | None = None,
    ):
        self.section, self.normalisation, self.seed = section, normalisation, seed
        self.device, self.precision = torch.device(device), precision
        self.rank, self.share = rank, section.batch_size // world_size
        self.total_updates, self.updates = total_updates, 0
        channels_last: Any = {"memory_format": torch.channels_last}
        frozen = teacher.to(self.device, **channels_last).eval().requires_grad_(False)
        self.teacher = fused(frozen)
        self.module = student.to(self.device, **channels_last)
        self.student = wrapped or self.module
        self.optimizer = torch.optim.SGD(
            self.module.parameters(),
            lr=section.lr,
            momentum=section.momentum,
            weight_decay=section.weight_decay,
            fused=True,
        )

    @property
    def lr(self) -> float:
        """Learning rate of the next update: cosine, a step for each round's updates."""
        section = self.section
        epochs = max(self.total_updates // section.updates_per_round, 1)
        epoch = min(self.updates // section.updates_per_round, epochs)
        cosine = (1 + math.cos(math.pi * epoch / epochs)) / 2
        return section.min_lr + (section.lr - section.min_lr) * cosine

    def update(self, bank: SampleBank) -> Tensor:
        """One student update on this worker's share of a batch; returns its mean loss."""
        section = self.section
        randomness = stream(self.seed, "distillation", self.updates, self.rank, device=self.device)
        images = bank.draw(self.share, randomness)
        move = CropFlip.draw(len(images), section.crop_padding, section.flip, randomness)
        inputs = self.normalisation.from_uint8(move.apply(images))
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        self.student.train()
        with autocast(self.device, self.precision):
            with torch.no_grad():
                teacher_logits = self.teacher(inputs)
            student_logits = self.student(inputs)
        loss = distillation_loss(
            teacher_logits.float(), student_logits.float(), section.temperature
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.updates += 1
        return loss.detach()

    def student_state(self) -> dict[str, Tensor]:
        """The student's weights and buffers."""
        return self.module.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Student, optimiser and number of updates: all that the next update depends on."""
        return {
            "student": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.module.load_state_dict(state["student"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.updates = state["updates"]
