"""NAYER without any optimisation: the baseline of its step cost.

Written as the other baselines (`benchmarks/naive.py`): eager float32 in row-major layout, forward
hooks, `.item()` in every step, an optimiser that loops over tensors, weight gradients of frozen
networks. Each noisy layer is a linear layer of its own, called on its rows. It computes the same
function as `fastdfkd.core.methods.nayer` (`tests/benchmarks/test_naive_nayer.py`).
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.naive import MomentsHook, NaiveGenerator, adam, augment, masked_kl, row_major
from fastdfkd.core.augment import Normalisation
from fastdfkd.core.methods.inversion import RandomInputs
from fastdfkd.core.methods.nayer import NAYER
from fastdfkd.core.noisy_generator import NoisyGenerator


class NaiveNAYER:
    """Makes batches with the weights and the draws of the package's synthesizer."""

    def __init__(
        self, ours: NAYER, teacher: nn.Module, student: nn.Module, normalisation: Normalisation
    ) -> None:
        generator = ours.shared.generator
        assert isinstance(generator, NoisyGenerator)
        self.section, self.normalisation = ours.section, normalisation
        self.vectors = generator.class_vectors
        self.norm = nn.BatchNorm1d(self.vectors.shape[1]).to(self.vectors.device)
        self.generator = row_major(NaiveGenerator(generator))
        self.layers: list[nn.Linear] = []
        self.teacher, self.student = row_major(teacher).eval(), row_major(student).eval()
        layers = [m for m in self.teacher.modules() if isinstance(m, nn.BatchNorm2d)]
        self.hooks = [MomentsHook(layer, self.section.bn_momentum) for layer in layers]

    def _draw_layers(self, noise: Tensor) -> None:
        """Linear layers with the weights `noise` (G, D, latent_dim)."""
        self.layers = []
        for weight in noise:
            layer = nn.Linear(*weight.shape).to(noise.device)
            layer.weight.data.copy_(weight.T)
            nn.init.zeros_(layer.bias)
            self.layers.append(layer)

    def _images(self, labels: Tensor) -> Tensor:
        rows, size = self.norm(self.vectors[labels]), len(self.vectors)
        parts = [layer(rows[i * size : (i + 1) * size]) for i, layer in enumerate(self.layers)]
        images: Tensor = self.generator(torch.cat(parts))
        return images

    def optimise(self, draws: RandomInputs) -> tuple[Tensor, list[float]]:
        """Make all steps; return the images of the lowest loss and the losses."""
        section, losses = self.section, []
        self._draw_layers(draws.noise)
        modules = (self.generator, self.norm, *self.layers)
        trained = [parameter for module in modules for parameter in module.parameters()]
        optimizer = adam([{"params": trained}], section.lr_g)
        best, kept = float("inf"), draws.noise
        for _ in range(section.steps):
            images = self._images(draws.labels)
            inputs = self.normalisation(
                augment(images, section.crop_padding, section.flip, False, draws.randomness)
            )
            logits, student_logits = self.teacher(inputs), self.student(inputs)
            loss = section.bn_weight * sum(hook.loss for hook in self.hooks)
            loss = loss + section.oh * F.cross_entropy(logits, draws.labels)
            loss = loss - section.adv * masked_kl(logits, student_logits)
            losses.append(loss.item())
            if losses[-1] < best:
                best, kept = losses[-1], copy.deepcopy(images.detach())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for hook in self.hooks:
            hook.end_batch()
        return kept, losses
