"""Image files of a folder or a zip file, at any depth and without classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from fastdfkd.data.decoding import Geometry
from fastdfkd.data.examples import ClassifiedImages
from fastdfkd.data.file_tree import file_tree
from fastdfkd.data.folder import ENDINGS, FileRecords
from fastdfkd.data.streaming import StreamedImages


def image_files(
    path: Path, shape: tuple[int, int, int], where: str, broken_share: float = 0.0
) -> Tensor:
    """All images, in the order of their names, (N, C, H, W) uint8.

    Args:
        path: a folder or a zip file.
        shape: (C, H, W). Each image is scaled until it covers (H, W), and its centre is kept.
        where: the recipe's key, for messages.
        broken_share: share of images that may be unreadable, 0 to 1. They are skipped.

    Raises:
        ValueError: there is no such place or no image in it, or more images cannot be read, or are
            far too small, than may be. The message names them.
    """
    try:
        tree = file_tree(path)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    files = tree.files()
    images = {name: stamp for name, stamp in files.items() if name.lower().endswith(ENDINGS)}
    if not images:
        raise ValueError(
            f"{where}: expected the folder of a run, or a folder or zip file with images "
            f"({', '.join(ENDINGS)}); {tree.place} has {len(files)} files and none of them"
        )
    labels = np.zeros(len(images), np.int64)
    records = FileRecords(tree, tuple(images), labels, repr(images))
    channels, height, width = shape
    where = f"{where} ({tree.place})"
    geometry = Geometry(size=(height, width))
    examples = ClassifiedImages(records, channels, geometry)
    return StreamedImages(examples, broken_share, where).in_memory().images
