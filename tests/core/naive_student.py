"""The student's updates a second time: momentum, decay and loss by hand, in float64.

Shares no arithmetic with `fastdfkd.core`; the tests only take random numbers from the same streams.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from fastdfkd.core.augment import Augmentation

from .naive import augment, kl, logits_and_moments


class Distiller:
    """SGD with momentum and weight decay by hand; lr from torch's scheduler, once a round."""

    def __init__(
        self,
        teacher: nn.Sequential,
        student: nn.Module,
        *,
        lr: float,
        min_lr: float,
        momentum: float,
        weight_decay: float,
        temperature: float,
        padding: int,
        rounds: int,
        mean: Tensor,
        std: Tensor,
    ):
        self.teacher, self.student = teacher, copy.deepcopy(student).train()
        self.momentum, self.weight_decay, self.temperature = momentum, weight_decay, temperature
        self.padding, self.mean, self.std = padding, mean, std
        self.velocity: list[Tensor] = []
        # The scheduler needs an optimiser: this one only stores the learning rate.
        self.holder = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.holder, rounds, min_lr)

    def update(self, images: Tensor, move: Augmentation) -> float:
        inputs = augment(images, move, self.padding).to(self.mean.dtype) / 255
        inputs = (inputs - self.mean) / self.std
        teacher_logits, _ = logits_and_moments(self.teacher, inputs)
        student_logits = self.student(inputs)
        loss = kl(teacher_logits.detach(), student_logits, self.temperature).sum() / len(images)
        loss = loss * self.temperature**2
        parameters = list(self.student.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        lr = self.holder.param_groups[0]["lr"]
        first = not self.velocity
        for i, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            decayed = gradient + self.weight_decay * parameter.detach()
            if first:
                self.velocity.append(decayed)
            else:
                self.velocity[i] = self.momentum * self.velocity[i] + decayed
            parameter.data = parameter.data - lr * self.velocity[i]
        return loss.item()

    def end_round(self) -> None:
        self.holder.step()
        self.schedule.step()


def cosine(lr: float, min_lr: float, epoch: int, epochs: int) -> float:
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * epoch / epochs)) / 2
