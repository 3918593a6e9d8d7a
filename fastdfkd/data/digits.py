"""The handwritten digits of scikit-learn, enlarged to 16 x 16 (UCI, Alpaydin and Kaynak 1998).

The set is easy: nearly every method gets a good student. It shows that a run works, not which
method is better.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from fastdfkd.data.cache import Bytes, cached_arrays
from fastdfkd.data.images import LabelledImages, Split

HELD_OUT = 500
"""Images of the test split. The other 1,297 are the train split."""

_VERSION = 1


def load_digits(split: Split) -> LabelledImages:
    """The 1,297 training or 500 test images (N, 1, 16, 16).

    The 8 x 8 images with values 0..16 are enlarged bilinearly and scaled to 0..255. The split is
    stratified by class and always the same. The arrays are cached, because importing scikit-learn
    takes seconds.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for part, rows in (("train", 1797 - HELD_OUT), ("test", HELD_OUT)):
        shapes |= {f"{part}_images": (rows, 1, 16, 16), f"{part}_labels": (rows,)}
    arrays = cached_arrays(f"digits-{_VERSION}", shapes, _make)
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    return LabelledImages(torch.from_numpy(images), torch.from_numpy(labels).long())


def _make() -> dict[str, Bytes]:
    """`{train,test}_images` (N, 1, 16, 16) and `{train,test}_labels` (N,), uint8."""
    from sklearn.datasets import load_digits as sklearn_digits
    from sklearn.model_selection import train_test_split

    bunch = sklearn_digits()
    counts = torch.from_numpy(bunch.images).float().unsqueeze(1)
    large = F.interpolate(counts, size=(16, 16), mode="bilinear", align_corners=False)
    images = (large * (255 / 16)).round().clamp(0, 255).to(torch.uint8).numpy()
    labels = bunch.target.astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=HELD_OUT, stratify=labels, random_state=0
    )
    parts = {"train": train, "test": test}
    arrays = {f"{part}_images": images[rows] for part, rows in parts.items()}
    return arrays | {f"{part}_labels": labels[rows] for part, rows in parts.items()}
