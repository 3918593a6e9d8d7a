"""CMI a second time: slow, in loops, from the paper's description (arXiv 2105.08584).

Shares no arithmetic with `fastdfkd.core`; the tests only take random numbers from the same streams.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fastdfkd.core.augment import Augmentation

from .naive import Objective, augment, normalised


def view(image: Tensor, theta: Tensor) -> Tensor:
    """The part of an image (C, H, W) that `theta` (2, 3) selects, pixel by pixel, bilinearly."""
    height, width = image.shape[1:]
    columns = []
    for y in range(height):
        for x in range(width):
            place = torch.tensor([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1, 1.0])
            across, down = (theta.double() @ place.double()).tolist()
            across = min(max(((across + 1) * width - 1) / 2, 0), width - 1)
            down = min(max(((down + 1) * height - 1) / 2, 0), height - 1)
            left, top = min(int(across), width - 2), min(int(down), height - 2)
            right, low = across - left, down - top
            upper = (1 - right) * image[:, top, left] + right * image[:, top, left + 1]
            lower = (1 - right) * image[:, top + 1, left] + right * image[:, top + 1, left + 1]
            columns.append((1 - low) * upper + low * lower)
    return torch.stack(columns, 1).reshape(image.shape)


def norm_inputs(network: nn.Sequential, x: Tensor) -> Tensor:
    """Spatial means of the inputs of all BatchNorms, (B, D)."""
    found = []
    for layer in network:
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            found.append(torch.stack([image.flatten(1).sum(1) / image[0].numel() for image in x]))
            x = normalised(layer, x)
        else:
            x = layer(x)
    return torch.cat(found, 1)


@dataclass
class CMIStep:
    """What one step of CMI had."""

    terms: dict[str, float]
    images: Tensor
    rows: Tensor
    gradients: list[Tensor]


class CMI:
    """Contrastive model inversion, one batch at a time."""

    def __init__(
        self,
        objective: Objective,
        head: Any,
        *,
        cr: float,
        temperature: float,
        lr: float,
        padding: int,
        mean: Tensor,
        std: Tensor,
    ):
        self.objective, self.head = objective, copy.deepcopy(head)
        self.cr, self.temperature, self.lr, self.padding = cr, temperature, lr, padding
        self.mean, self.std = mean, std
        self.adam = torch.optim.Adam(self.head.parameters(), lr=1e-3, foreach=False, fused=False)

    def project(self, features: Tensor) -> Tensor:
        hidden = features @ self.head.hidden.weight.T + self.head.hidden.bias
        projected = hidden.clamp_min(0) @ self.head.out.weight.T + self.head.out.bias
        return projected / projected.square().sum(1, keepdim=True).sqrt()

    def contrast(self, local: Tensor, whole: Tensor, cached: Tensor) -> Tensor:
        width = local.shape[1]
        ours = self.project(torch.cat([local, cached[:, :width]]))
        theirs = self.project(torch.cat([whole.detach(), cached[:, width:]]))
        losses = []
        for i, row in enumerate(ours):
            near = [(row * other).sum() / self.temperature for other in theirs]
            losses.append(torch.stack(near).exp().sum().log() - near[i])
        count = len(local)
        total = torch.stack(losses[:count]).mean()
        return total + torch.stack(losses[count:]).mean() if len(cached) else total

    def batch(
        self,
        generator: nn.Module,
        z: Tensor,
        labels: Tensor,
        draws: list[tuple[Augmentation, Tensor, Tensor]],
        adversarial: bool,
    ) -> list[CMIStep]:
        """One step for each (move, local view, cached rows)."""
        fast, z, steps = copy.deepcopy(generator), z.clone().requires_grad_(), []
        adam = torch.optim.Adam(
            [*fast.parameters(), z], lr=self.lr, betas=(0.5, 0.999), foreach=False, fused=False
        )
        for move, theta, cached in draws:
            images = fast(z)
            inputs = (augment(images, move, self.padding) - self.mean) / self.std
            terms = self.objective.terms(inputs, labels, adversarial)
            parts = torch.stack([view(x, t) for x, t in zip(images, theta, strict=True)])
            teacher = self.objective.teacher
            whole = norm_inputs(teacher, inputs).detach()
            local = norm_inputs(teacher, (parts - self.mean) / self.std)
            terms["cr"] = self.contrast(local, whole, cached)
            terms["loss"] = terms["loss"] + self.cr * terms["cr"]
            adam.zero_grad()
            self.adam.zero_grad()
            terms["loss"].backward()
            steps.append(
                CMIStep(
                    {name: value.item() for name, value in terms.items()},
                    images.detach().clone(),
                    torch.cat([local, whole], 1).detach(),
                    [p.grad.clone() for p in (*fast.parameters(), *self.head.parameters())],
                )
            )
            adam.step()
            self.adam.step()
        return steps
