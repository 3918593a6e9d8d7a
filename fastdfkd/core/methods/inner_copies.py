"""Everything that the k steps of a batch change: copies of generator and codes, and more.

They are the fast weights theta' and codes of Algorithm 1 of arXiv 2112.06253, one Adam for each.
The tensors are allocated once and refilled for every batch, because a captured step (CUDA graph)
reads and writes fixed memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from fastdfkd.core import torch_versions
from fastdfkd.core.generators import Generator
from fastdfkd.core.meta_gradient import BETAS
from fastdfkd.core.methods.loss_terms import Best
from fastdfkd.core.optimizers import Adam


class InnerCopies:
    """theta' and codes with their optimisers, the summed gradients and the best images so far.

    The codes are what the generator reads and a batch trains (`Generator.inputs`): z, or the noisy
    layers of class vectors.
    """

    def __init__(
        self,
        generator: Generator,
        count: int,
        noise_shape: Sequence[int],
        *,
        lr_g: float,
        lr_z: float,
        best: Best,
    ):
        """Allocate the tensors.

        Args:
            generator: what `begin` copies from.
            count: B, images of a batch.
            noise_shape: of their noise.
            lr_g: learning rate of theta'.
            lr_z: learning rate of the codes.
            best: keeps the best step.
        """
        self.generator = generator
        self.names = [name for name, _ in generator.named_parameters()]
        self.fast = [p.detach().clone().requires_grad_() for p in generator.parameters()]
        """theta', for each generator parameter."""
        noise = self.fast[0].new_zeros(tuple(noise_shape), requires_grad=False)
        labels = torch.zeros(count, dtype=torch.int64, device=noise.device)
        codes, self.others = generator.inputs(noise, labels)
        self.codes = [code.clone().requires_grad_() for code in codes]
        self.optimizers = Adam(self.fast, lr_g, BETAS), Adam(self.codes, lr_z, BETAS)
        self.summed = [torch.zeros_like(p, requires_grad=False) for p in self.fast]
        """Sum over the steps of dL/dtheta', for each generator parameter."""
        self.best = best

    @torch.no_grad()
    def begin(self, noise: Tensor, labels: Tensor) -> None:
        """Copy theta, noise and labels (B, *space), and reset all that the previous batch left."""
        torch_versions.foreach_copy_(self.fast, list(self.generator.parameters()))
        codes, others = self.generator.inputs(noise, labels)
        for mine, new in zip([*self.codes, *self.others], [*codes, *others], strict=True):
            assert mine.shape == new.shape, f"{tuple(new.shape)}, expected {tuple(mine.shape)}"
            mine.copy_(new)
        torch_versions.foreach_zero_(self.summed)
        self.drop_gradients()
        for optimizer in self.optimizers:
            optimizer.forget()
        self.best.forget()

    def drop_gradients(self) -> None:
        """Drop the gradients of a step that raised."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def inputs(self) -> tuple[Tensor, ...]:
        """What the generator computes images from: theta', codes and the rest."""
        return (*self.fast, *self.codes, *self.others)

    def images_of(self, *inputs: Tensor) -> Tensor:
        """The images (B, C, H, W) in [0, 1] that the generator makes from `inputs`."""
        weights = dict(zip(self.names, inputs, strict=False))  # codes and the rest follow
        images: Tensor = functional_call(self.generator, weights, inputs[len(weights) :])
        return images

    def step(self, loss: Tensor) -> None:
        """Make one Adam step of theta' and codes on `loss`; add the gradients to `summed`."""
        loss.backward()  # type: ignore[no-untyped-call]
        torch_versions.foreach_add_(self.summed, [p.grad for p in self.fast if p.grad is not None])
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
