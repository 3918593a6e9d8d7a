"""A generator that reads class vectors through noisy layers in place of latent codes (NAYER).

    z_i = W_g BatchNorm(e_y)_i + b_g    for image i of class y, with g = i div K

e_y is the fixed vector of a class, and K the number of classes. The linear layers (W_g, b_g) belong
to a batch: the weights are its noise, drawn from N(0, 1), and the biases start at 0. A batch trains
them as it trains latent codes. Two images differ by their class, or by their layer: with balanced
labels no two images of a layer have one class. Source: arXiv 2310.00258.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.core.generators import Generator


class NoisyGenerator(Generator):
    """Maps classes (B,) to images (B, C, H, W) in [0, 1], through ceil(B / K) linear layers.

    The class vectors are a buffer, so that they are part of every saved state.
    """

    class_vectors: Tensor
    """(K, D)."""

    def __init__(
        self,
        vectors: Tensor,
        latent_dim: int,
        width: int,
        image_shape: Sequence[int],
        output_norm: bool = False,
    ):
        super().__init__(latent_dim, width, image_shape, output_norm)
        self.vector_norm = nn.BatchNorm1d(vectors.shape[1], track_running_stats=False)
        self.register_buffer("class_vectors", vectors.clone())

    def noise_shape(self, count: int) -> tuple[int, ...]:
        """(ceil(count / K), D, latent_dim): the weights of a batch's linear layers."""
        classes, width = self.class_vectors.shape
        return (-(-count // classes), width, self.project.in_features)

    def inputs(self, noise: Tensor, labels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases of the linear layers, which a batch trains; and its classes."""
        return [noise, noise.new_zeros(len(noise), noise.shape[2])], [labels]

    def latent(self, *inputs: Tensor) -> Tensor:
        """Latent codes (B, latent_dim) of weights (G, D, latent_dim), biases, and classes (B,)."""
        weights, biases, labels = inputs
        rows = self.vector_norm(self.class_vectors.index_select(0, labels))
        groups, width, _ = weights.shape
        size = len(self.class_vectors)
        rows = F.pad(rows, (0, 0, 0, groups * size - len(rows))).reshape(groups, size, width)
        codes = torch.baddbmm(biases[:, None], rows, weights)
        return codes.flatten(0, 1)[: len(labels)]
