"""A round of DAFL, ZSKT, DFQ or DFAD without any optimisation, as `benchmarks/naive.py` has it.

Eager float32, row-major layout, forward hooks, weight gradients of frozen networks that are
discarded, an optimiser that loops over tensors, and `.item()` in every step.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.naive import MomentsHook, NaiveGenerator, adam, row_major
from fastdfkd.core.augment import Normalisation
from fastdfkd.core.generators import Generator


class NaiveGenerative:
    """One generator that is trained in place, with the losses of a section."""

    def __init__(
        self,
        section: Any,
        generator: Generator,
        teacher: nn.Module,
        student: nn.Module,
        normalisation: Normalisation,
    ) -> None:
        self.section, self.normalisation = section, normalisation
        self.generator = row_major(NaiveGenerator(generator))
        self.teacher, self.student = row_major(teacher).eval(), row_major(student).eval()
        layers = [m for m in self.teacher.modules() if isinstance(m, nn.BatchNorm2d)]
        self.hooks = [MomentsHook(layer, 0.0) for layer in layers] if section.bn else []
        last = [m for m in self.teacher.modules() if isinstance(m, nn.Linear)][-1]
        last.register_forward_hook(self._keep_features)
        self.optimizer = adam([{"params": self.generator.parameters()}], section.lr_g)

    def _keep_features(
        self, _layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor
    ) -> None:
        self.features = inputs[0]

    def step(self, z: Tensor) -> float:
        """One Adam step; returns the loss before it."""
        loss = self._loss(self.normalisation(self.generator(z)))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def round(self, steps: list[Tensor], z: Tensor) -> tuple[Tensor, list[float]]:
        """The generator steps, then uint8 images of z in parts of a step's size."""
        losses = [self.step(each) for each in steps]
        with torch.no_grad():
            parts = [self.generator(part) for part in z.split(self.section.generator_batch_size)]
        return (torch.cat(parts) * 255).round().byte(), losses

    def _loss(self, inputs: Tensor) -> Tensor:
        section, logits = self.section, self.teacher(inputs)
        loss = section.bn * sum(hook.loss for hook in self.hooks) + 0 * logits.sum()
        if section.oh:
            loss = loss + section.oh * F.cross_entropy(logits, logits.max(1)[1])
        if section.activation:
            loss = loss - section.activation * self.features.abs().mean()
        if section.balance:
            mean = F.softmax(logits, dim=1).mean(0)
            loss = loss + section.balance * (mean * torch.log(mean)).sum()
        if section.adv:
            loss = loss + section.adv * self._adversarial(logits, self.student(inputs))
        return loss

    def _adversarial(self, logits: Tensor, student_logits: Tensor) -> Tensor:
        if self.section.method == "dfad":
            return -F.l1_loss(logits, student_logits)
        return -F.kl_div(
            F.log_softmax(student_logits, dim=1), F.softmax(logits, dim=1), reduction="batchmean"
        )
