"""Networks that tests write to files, and what asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.models import OpenedNetwork, open_with_weights
from fastdfkd.recipe import TeacherSection

NETWORK_FILE = """
import torch.nn.functional as F
from torch import nn


class Small(nn.Module):
    def __init__(self, classes, channels, width):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=1, stride=2)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        return self.head(F.relu(self.norm(self.conv(x))).mean((2, 3)))


def build(num_classes, in_channels=3, width=8):
    return Small(num_classes, in_channels, width)
"""


def image_spec(classes: int = 10, shape: tuple[int, int, int] = (3, 32, 32)) -> ImageSpec:
    half = (0.5,) * shape[0]
    return ImageSpec(name="x", shape=shape, num_classes=classes, mean=half, std=half)


def open_model(
    model: str, classes: int = 10, shape: tuple[int, int, int] = (3, 32, 32), **keys: Any
) -> OpenedNetwork:
    """The teacher that a recipe names, for images of a shape."""
    section = TeacherSection(model=model, **keys)
    return open_with_weights(
        section, image_spec(classes, shape), section.weights, entry=section.entry
    )


def write_network(folder: Path, text: str = NETWORK_FILE) -> Path:
    path = folder / "nets" / "small.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path
