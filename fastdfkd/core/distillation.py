"""One student update: draw, augment, ask the teacher, follow it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fastdfkd.core.augment import CropFlip
from fastdfkd.core.frozen_logits import for_logits
from fastdfkd.core.interfaces import SampleBank
from fastdfkd.core.losses import distillation_loss
from fastdfkd.core.optimizers import SGD
from fastdfkd.core.precision import autocast, resolved
from fastdfkd.core.random_streams import stream
from fastdfkd.core.task import Task
from fastdfkd.core.teacher_cache import TeacherCache

if TYPE_CHECKING:
    from fastdfkd.recipe import DistillationSection


class StudentDistiller:
    """Implements `Distiller`: SGD on the KL loss, cosine learning rate, one step a call.

    With several workers each draws its own share of a batch from a stream of its own; `wrap` (DDP)
    then gives the student for the forward while `module` stays the bare network. It is called once
    the student has its final layout: DDP would hand back gradients in an older one, and fused
    optimisers on the CPU do not look at strides.
    """

    def __init__(
        self,
        section: DistillationSection,
        task: Task,
        *,
        total_updates: int,
        rank: int = 0,
        world_size: int = 1,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
    ):
        self.section, self.normalisation, self.seed = section, task.normalisation, task.seed
        self.device, self.precision = torch.device(task.device), task.precision
        self.rank, self.share = rank, section.batch_size // world_size
        self.total_updates, self.updates = total_updates, 0
        channels_last: Any = {"memory_format": torch.channels_last}
        frozen = task.teacher.to(self.device, **channels_last).eval().requires_grad_(False)
        half = resolved(self.device, self.precision) == "bfloat16"
        self.teacher = for_logits(frozen, torch.bfloat16 if half else torch.float32)
        reuse = section.teacher_cache
        self.cache = TeacherCache(reuse, self.share) if reuse else None
        self.module = task.student.to(self.device, **channels_last)
        self.student = wrap(self.module) if wrap else self.module
        self.optimizer = SGD(
            self.module.parameters(),
            section.lr,
            momentum=section.momentum,
            weight_decay=section.weight_decay,
        )

    @property
    def lr(self) -> float:
        """Learning rate of the next update: cosine, a step for each round's updates, warmed up."""
        section = self.section
        epochs = max(self.total_updates // section.updates_per_round, 1)
        epoch = min(self.updates // section.updates_per_round, epochs)
        cosine = (1 + math.cos(math.pi * epoch / epochs)) / 2
        warm = min((self.updates + 1) / (section.warmup_updates + 1), 1.0)
        return warm * (section.min_lr + (section.lr - section.min_lr) * cosine)

    def update(self, bank: SampleBank) -> Tensor:
        """One student update on this worker's share of a batch; returns its mean loss."""
        section = self.section
        randomness = stream(self.seed, "distillation", self.updates, self.rank, device=self.device)
        inputs, teacher_logits = self._batch(bank, randomness)
        self.student.train()
        with autocast(self.device, self.precision):
            student_logits = self.student(inputs)
        loss = distillation_loss(teacher_logits, student_logits.float(), section.temperature)
        self.optimizer.lr = self.lr
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.updates += 1
        return loss.detach()

    def _batch(self, bank: SampleBank, randomness: torch.Generator) -> tuple[Tensor, Tensor]:
        """Normalised images (B, C, H, W) of an update and the teacher's logits (B, K) float32."""
        section, cache = self.section, self.cache
        fresh = cache.wanted if cache else self.share
        images = bank.draw(fresh, randomness)
        move = CropFlip.draw(fresh, section.crop_padding, section.flip, randomness)
        views = move.apply(images)
        seen, said = cache.draw(randomness) if cache else ([], [])
        inputs = self.normalisation.from_uint8(torch.cat([views, *seen]) if seen else views)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.precision), torch.inference_mode():
            logits = self.teacher(inputs[:fresh])
        logits = logits.float().clone()  # no inference tensor: those cannot be saved for backward
        if cache:
            cache.insert(views, logits)
        return inputs, torch.cat([logits, *said])

    def student_state(self) -> dict[str, Tensor]:
        """The student's weights and buffers."""
        return self.module.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """All that the next update depends on: student, optimiser, number of updates, cache.

        The cache is this worker's; other workers of a restarted group go on with its views too.
        """
        return {
            "student": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
            "teacher_cache": self.cache.state_dict() if self.cache else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.module.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state["updates"]
        if self.cache:
            self.cache.load_state_dict(state["teacher_cache"], self.device)
