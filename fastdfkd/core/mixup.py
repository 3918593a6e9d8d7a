"""mixup of a batch of images (Zhang et al., arXiv 1710.09412), without labels.

In distillation the teacher answers for the mixed image itself, so no labels are mixed.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mixed_images(images: Tensor, share: float, randomness: torch.Generator) -> Tensor:
    """Images (B, C, H, W) uint8, some of them mixed with another one of the batch.

    Args:
        images: (B, C, H, W) uint8.
        share: probability that an image is mixed.
        randomness: source of the draws, on the device of the images: the order of the partners, the
            weights, uniform in 0 to 1 (Beta(1, 1)), and the images that are mixed.
    """
    count, device = len(images), randomness.device
    partners = torch.randperm(count, generator=randomness, device=device)
    weights, coins = torch.rand(2, count, generator=randomness, device=device)
    weights = torch.where(coins < share, weights, 0)[:, None, None, None]
    return images.float().lerp(images[partners].float(), weights).round().to(torch.uint8)
