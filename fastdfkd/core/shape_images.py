"""Random images of coloured shapes that cover each other (the dead leaves model).

Each shape has a kind, a place, a size, an angle and a colour gradient of its own. Images of this
kind are far from any data set, and yet have what networks look for: edges, strokes, corners, flat
parts, contrast (arXiv 2106.05963). Everything is drawn as signed distances in plain torch, on any
device, for any number of channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MOST_SHAPES = 6
"""Most shapes of an image that a student update draws."""
_SIZE = (0.25, 1.5)
"""Smallest and largest half length of a shape, in halves of the image's shorter side."""
_WIDTH = (0.1, 1.0)
"""Smallest and largest half width, as a share of the half length."""
_LINE = (0.1, 0.3)
"""Smallest and largest half width of a ring's line, likewise."""
_PLACE = 1.0
"""Centres lie within so many half sides of the middle."""


def draw_shapes(
    count: int, image_shape: Sequence[int], most: int, randomness: torch.Generator
) -> Tensor:
    """Draw images, (count, C, H, W) float32 in [0, 1], on the generator's device.

    Args:
        count: of images.
        image_shape: (C, H, W).
        most: shapes of an image; each has 1 to so many on its background.
        randomness: source of all random numbers.
    """
    channels, height, width = image_shape
    device = randomness.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        drawn = torch.rand(count, *shape, generator=randomness, device=device)
        return low + (high - low) * drawn

    y, x = _grid(height, width, device)
    layers = torch.randint(1, most + 1, (count, 1, 1), generator=randomness, device=device)
    images = uniform(0, 1, channels, 1, 1).expand(count, channels, height, width)
    for layer in range(most):
        angle = uniform(0, 2 * math.pi, 1, 1)
        length = _SIZE[0] * (_SIZE[1] / _SIZE[0]) ** uniform(0, 1, 1, 1)
        breadth = _WIDTH[0] * (_WIDTH[1] / _WIDTH[0]) ** uniform(0, 1, 1, 1)
        dx = x - uniform(-_PLACE, _PLACE, 1, 1)
        dy = y - uniform(-_PLACE, _PLACE, 1, 1)
        along = (dx * angle.cos() + dy * angle.sin()) / length
        across = (dy * angle.cos() - dx * angle.sin()) / length
        line, cut = uniform(*_LINE, 1, 1), uniform(-1, 1, 1, 1)
        kinds = _distances(along, across, breadth, line, cut)
        kind = torch.randint(len(kinds), (count,), generator=randomness, device=device)
        distance = kinds[kind, torch.arange(count, device=device)] * length
        covered = (0.5 - distance * min(height, width) / 2).clamp(0, 1)  # soft over one pixel
        covered = covered * (layer < layers)
        first, last = uniform(0, 1, channels, 1, 1), uniform(0, 1, channels, 1, 1)
        steep = uniform(0, 1, 1, 1)[:, None]
        colour = first + (last - first) * (steep * (along[:, None] + 1) / 2).clamp(0, 1)
        images = images + (colour - images) * covered[:, None]
    return images


def _grid(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Coordinates of the pixels' centres, (H, 1) and (1, W), in halves of the shorter side."""
    half = min(height, width) / 2
    y, x = (
        (torch.arange(side, device=device, dtype=torch.float32) + 0.5 - side / 2) / half
        for side in (height, width)
    )
    return y[:, None], x[None, :]


def _distances(along: Tensor, across: Tensor, breadth: Tensor, line: Tensor, cut: Tensor) -> Tensor:
    """Signed distances to the outline of each kind of shape, (kinds, count, H, W).

    Bar, ellipse, triangle, ring and arc, each of half length 1. Distances to an ellipse are
    approximate.
    """
    squeezed = across / breadth
    radius = (along.square() + across.square()).sqrt()
    bar = torch.maximum(along.abs() - 1, across.abs() - breadth)
    ellipse = ((along.square() + squeezed.square()).sqrt() - 1) * breadth
    side = (across.abs() + (along - 1) * breadth / 2) / (1 + breadth.square() / 4).sqrt()
    triangle = torch.maximum(side, -1 - along)
    ring = (radius - 1 + line).abs() - line
    return torch.stack([bar, ellipse, triangle, ring, torch.maximum(ring, along - cut)])
