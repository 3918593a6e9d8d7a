"""NAYER a second time: slow, in loops, from the paper's description.

Shares no arithmetic with `fastdfkd.core` apart from the convolutional generator; the tests only
take random numbers from the same streams.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastdfkd.core.augment import Augmentation
from fastdfkd.core.generators import Generator
from fastdfkd.core.noisy_generator import NoisyGenerator

from . import naive


def codes(
    vectors: Tensor,
    gamma: Tensor,
    beta: Tensor,
    layers: list[tuple[Tensor, Tensor]],
    labels: Tensor,
) -> Tensor:
    """Latent codes, row by row: class vector, BatchNorm over the batch, the row's own layer."""
    rows = [vectors[int(label)] for label in labels]
    mean = sum(rows[1:], rows[0]) / len(rows)
    var = sum(((row - mean) ** 2 for row in rows), torch.zeros(())) / len(rows)
    found = []
    for i, row in enumerate(rows):
        normed = (row - mean) / (var + 1e-5).sqrt() * gamma + beta
        weight, bias = layers[i // len(vectors)]
        found.append(normed @ weight + bias)
    return torch.stack(found)


class Synthesizer:
    """One generator that goes on from batch to batch."""

    def __init__(self, ours: NoisyGenerator, objective: naive.Objective, lr: float, padding: int):
        self.objective, self.lr, self.padding = objective, lr, padding
        self.vectors = ours.class_vectors.clone()
        width, latent = ours.widths[2], ours.project.in_features
        self.plain = Generator(latent, width, (3, 8, 8))
        self.gamma, self.beta = (torch.zeros(self.vectors.shape[1]) for _ in range(2))
        self.take(ours)

    def take(self, ours: NoisyGenerator) -> None:
        """Copy the weights of the package's generator, when one is drawn anew."""
        state = {k: v.clone() for k, v in ours.state_dict().items()}
        self.gamma, self.beta = state.pop("vector_norm.weight"), state.pop("vector_norm.bias")
        state.pop("class_vectors")
        self.plain.load_state_dict(state)

    def weights(self) -> list[Tensor]:
        """In the order of the package's generator."""
        return [*self.plain.parameters(), self.gamma, self.beta]

    def batch(
        self,
        noise: Tensor,
        labels: Tensor,
        moves: list[Augmentation],
        adversarial: bool,
        mean: Tensor,
        std: Tensor,
    ) -> tuple[list[dict[str, float]], list[Tensor], list[list[Tensor]]]:
        """Terms, images and gradients of each step. The noisy layers are left behind."""
        self.gamma, self.beta = (x.detach().requires_grad_() for x in (self.gamma, self.beta))
        layers = [(w.clone().requires_grad_(), torch.zeros(w.shape[1])) for w in noise]
        for _, bias in layers:
            bias.requires_grad_()
        trained = [*self.weights(), *(tensor for layer in layers for tensor in layer)]
        adam = torch.optim.Adam(trained, lr=self.lr, betas=(0.5, 0.999), foreach=False, fused=False)
        terms: list[dict[str, float]] = []
        images, gradients = [], []
        for move in moves:
            made = self.plain(codes(self.vectors, self.gamma, self.beta, layers, labels))
            inputs = (naive.augment(made, move, self.padding) - mean) / std
            found = self.objective.terms(inputs, labels, adversarial)
            adam.zero_grad()
            found["loss"].backward()  # type: ignore[no-untyped-call]
            terms.append({name: value.item() for name, value in found.items()})
            images.append(made.detach().clone())
            gradients.append([p.grad.clone() for p in self.weights() if p.grad is not None])
            adam.step()
        self.objective.end_batch()
        return terms, images, gradients
