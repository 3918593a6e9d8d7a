"""Everything that the k steps of a batch change: copies of the meta-generator and of z, and more.

The tensors are allocated once and refilled for every batch, because a captured step (CUDA graph)
reads and writes fixed memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fastdfkd.core.meta_gradient import BETAS
from fastdfkd.core.methods.objective import Best
from fastdfkd.core.optimizers import Adam


class InnerCopies:
    """theta' and z with their optimisers, the summed gradients and the best images so far."""

    def __init__(
        self, generator: nn.Module, codes: tuple[int, int], *, lr_g: float, lr_z: float, best: Best
    ):
        """Allocate the tensors.

        Args:
            generator: what `begin` copies from.
            codes: (B, latent_dim).
            lr_g: learning rate of theta'.
            lr_z: learning rate of z.
            best: keeps the best step.
        """
        self.generator = generator
        self.names = [name for name, _ in generator.named_parameters()]
        self.fast = [p.detach().clone().requires_grad_() for p in generator.parameters()]
        """theta', for each generator parameter."""
        z = self.fast[0].new_zeros(codes)
        self.z = z.requires_grad_()
        """(B, latent_dim)."""
        self.optimizers = Adam(self.fast, lr_g, BETAS), Adam([z], lr_z, BETAS)
        self.summed = [torch.zeros_like(p, requires_grad=False) for p in self.fast]
        """Sum over the steps of dL/dtheta', for each generator parameter."""
        self.best = best

    @torch.no_grad()
    def begin(self, z: Tensor) -> None:
        """Copy theta and z (B, latent_dim), and reset all that the previous batch left."""
        assert z.shape == self.z.shape, f"z is {tuple(z.shape)}, expected {tuple(self.z.shape)}"
        torch._foreach_copy_(self.fast, list(self.generator.parameters()))
        self.z.copy_(z)
        torch._foreach_zero_(self.summed)
        for optimizer in self.optimizers:
            optimizer.zero_grad()  # gradients of a step that raised
            optimizer.forget()
        self.best.forget()

    def images(self) -> Tensor:
        """The images (B, C, H, W) in [0, 1] that theta' generates from z."""
        weights = dict(zip(self.names, self.fast, strict=True))
        images: Tensor = functional_call(self.generator, weights, (self.z,))
        return images

    def step(self, loss: Tensor) -> None:
        """Make one Adam step of theta' and z on `loss`, and add the gradients to `summed`."""
        loss.backward()  # type: ignore[no-untyped-call]
        torch._foreach_add_(self.summed, [p.grad for p in self.fast if p.grad is not None])
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
