"""Reads images of the user's own as the program does, and says what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fastdfkd.data.images import Images
from fastdfkd.data.own_files import own_images
from fastdfkd.recipe import DataSection
from tests.data.image_files import NAMES, colours_of, spec_of

EACH_TWICE = ["blue", "blue", "green", "green", "red", "red"]


def images_of(root: Path, name: str = "folder", split: Any = "test", **keys: Any) -> Images:
    spec = keys.pop("spec", spec_of())
    images = own_images(DataSection(name=name, root=str(root), **keys), split, spec)
    assert images is not None
    return images


def said_by(root: Path, name: str = "folder", split: Any = "test", **keys: Any) -> str:
    with pytest.raises(ValueError, match=r".") as info:
        images_of(root, name, split, **keys)
    return str(info.value)


def names_in(images: Images, names: tuple[str, ...] = NAMES) -> list[str]:
    """The classes' names, having checked that the pixels have their colours."""
    pixels, labels = next(images.batches(100))
    assert pixels.dtype == torch.uint8
    assert labels.dtype == torch.int64
    found = [names[label] for label in labels.tolist()]
    assert colours_of(pixels) == found
    return found
