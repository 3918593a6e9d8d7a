"""Priors: terms of the synthesis loss that need nothing of the teacher but its answers.

They stand in for the BatchNorm statistics of a teacher that has none. All have weight 0 by default.
`core/losses.py` names the source of each term. Dropped patches are for transformers.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastdfkd.core.last_layer import LastLayer
from fastdfkd.core.losses import activation_loss, balance_loss, confidence_loss

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import GenerativeSection, InversionSection

PATCH = 4
"""Side of a dropped patch in pixels where the recipe sets none."""


@dataclass(frozen=True)
class PriorWeights:
    """Weights of the priors on the teacher's answers and features."""

    confidence: float = 0.0
    balance: float = 0.0
    activation: float = 0.0

    @classmethod
    def of(cls, section: InversionSection | GenerativeSection) -> PriorWeights:
        """Those of a recipe's section."""
        return cls(section.confidence, section.balance, section.activation)


NO_PRIORS = PriorWeights()
"""All weights 0."""


class Priors:
    """The weighted sum of the priors of positive weight."""

    def __init__(self, weights: PriorWeights):
        self.weights = weights
        self.last_layer = LastLayer()

    def watching(self) -> AbstractContextManager[object]:
        """The context of the teacher's forward pass, in which its features are found."""
        return self.last_layer if self.weights.activation > 0 else nullcontext()

    def added(self, loss: Tensor, logits: Tensor) -> Tensor:
        """`loss` plus the priors for the forward pass that gave `logits` (B, K, *space).

        Raises:
            ValueError: `activation` is above 0 and the last layer's input was not seen.
        """
        weights = self.weights
        if weights.confidence > 0:
            loss = loss + weights.confidence * confidence_loss(logits)
        if weights.balance > 0:
            loss = loss + weights.balance * balance_loss(logits)
        if weights.activation > 0:
            loss = loss + weights.activation * activation_loss(
                self.last_layer.take_features().float()
            )
        return loss


def draw_patches(
    count: int, sides: tuple[int, int], share: float, patch: int, generator: torch.Generator
) -> Tensor:
    """Which pixels stay, (count, 1, H, W) bool; each patch is dropped with probability `share`.

    Args:
        count: images.
        sides: (H, W); the last row and column of patches may be cut off.
        share: of dropped patches.
        patch: side of a patch in pixels.
        generator: draws, on the device of the result.
    """
    grid = [-(-side // patch) for side in sides]
    kept = torch.rand(count, 1, *grid, generator=generator, device=generator.device) >= share
    whole = kept.repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    return whole[:, :, : sides[0], : sides[1]]


def without_patches(inputs: Tensor, kept: Tensor | None) -> Tensor:
    """Normalised images (B, C, H, W) with the mean colour, 0, where `kept` is false."""
    return inputs if kept is None else inputs * kept
