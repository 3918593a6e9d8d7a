"""CMI without any optimisation: the baseline of its step cost.

Written as the other baselines (`benchmarks/naive.py`): eager float32 in row-major layout, forward
hooks, `.item()` in every step, optimisers that loop over tensors, weight gradients of frozen
networks. The local views are sampled image by image. It computes the same function as
`fastdfkd.core.methods.cmi` (`tests/benchmarks/test_naive_cmi.py`).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.naive import MomentsHook, NaiveGenerator, adam, augment, masked_kl, row_major
from fastdfkd.core.augment import Normalisation
from fastdfkd.core.methods.cmi import CMISynthesizer, initialise
from fastdfkd.core.methods.inversion import RandomInputs
from fastdfkd.core.resized_crop import ResizedCrop


class FeatureHook:
    """Spatial means of the input of one layer, kept in a forward hook."""

    def __init__(self, layer: nn.Module) -> None:
        layer.register_forward_hook(self.hook)

    def hook(self, _layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        """Keep the means."""
        self.means = inputs[0].mean([2, 3])


class NaiveCMI:
    """Makes a batch with the weights, the memory and the draws of the package's synthesizer."""

    def __init__(
        self,
        ours: CMISynthesizer,
        teacher: nn.Module,
        student: nn.Module,
        normalisation: Normalisation,
    ) -> None:
        assert ours.contrast is not None
        self.section, self.normalisation = ours.section, normalisation
        self.generator = copy.deepcopy(ours.generator)
        self.head = row_major(ours.contrast.head)
        self.memory = ours.contrast.memory
        self.teacher, self.student = row_major(teacher).eval(), row_major(student).eval()
        layers = [m for m in self.teacher.modules() if isinstance(m, nn.BatchNorm2d)]
        self.norms = [MomentsHook(layer, 0.0) for layer in layers]
        self.features = [FeatureHook(layer) for layer in layers]
        self.head_optimizer = torch.optim.Adam(
            self.head.parameters(), self.section.head_lr, foreach=False, fused=False
        )

    def optimise(self, draws: RandomInputs) -> tuple[Tensor, list[float]]:
        """Make all steps; return the images of the lowest loss and the losses."""
        section, randomness, losses = self.section, draws.randomness, []
        initialise(self.generator, randomness)
        generator = row_major(NaiveGenerator(self.generator))
        z = draws.noise.clone().requires_grad_()
        optimizer = adam([{"params": [*generator.parameters(), z]}], section.lr)
        best, kept = float("inf"), z
        for _ in range(section.steps):
            images = generator(z)
            inputs = self.normalisation(
                augment(images, section.crop_padding, section.flip, False, randomness)
            )
            loss = self._inversion_loss(inputs, draws.labels)
            whole = torch.cat([hook.means for hook in self.features], 1).detach()
            loss = loss + section.cr * self._contrastive_loss(images, whole, randomness)
            losses.append(loss.item())
            if losses[-1] < best:
                best, kept = losses[-1], images.detach().clone()
            optimizer.zero_grad()
            self.head_optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self.head_optimizer.step()
        return kept, losses

    def _inversion_loss(self, inputs: Tensor, labels: Tensor) -> Any:
        section = self.section
        logits, student_logits = self.teacher(inputs), self.student(inputs)
        loss = section.bn_weight * sum(hook.loss for hook in self.norms)
        loss = loss + section.oh * F.cross_entropy(logits, labels)
        return loss - section.adv * masked_kl(logits, student_logits)

    def _contrastive_loss(self, images: Tensor, whole: Tensor, randomness: torch.Generator) -> Any:
        section, count = self.section, len(images)
        crop = ResizedCrop.draw(count, section.local_scale, section.flip, randomness)
        slots = self.memory.draw(section.memory_draws, randomness)
        views = [ResizedCrop(crop.theta[i : i + 1])(images[i : i + 1]) for i in range(count)]
        self.teacher(self.normalisation(torch.cat(views)))
        local = torch.cat([hook.means for hook in self.features], 1)
        old_local, old_whole = self.memory.rows[slots].float().chunk(2, 1)
        queries = self.head(torch.cat([local, old_local]))
        keys = self.head(torch.cat([whole, old_whole]))
        own = torch.arange(len(queries), device=queries.device)
        rows = F.cross_entropy(queries @ keys.T / section.cr_temperature, own, reduction="none")
        return rows[:count].mean() + (rows[count:].mean() if len(slots) else 0)
