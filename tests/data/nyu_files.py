"""A small file of NYU Depth V2's true format, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat

from fastdfkd.data import nyuv2

TRAIN, TEST = [2, 3, 5], [1, 4, 6]
"""Numbers of the scenes of the small file, from 1."""
HEIGHT, WIDTH = 18, 24


def small_maps(root: Path) -> None:
    """Files like the published ones: label n becomes n % 40 + 1 of 40, which n % 13 + 1 of 13."""
    labels = np.arange(1, 895) % 40 + 1
    savemat(root / "classMapping40.mat", {"mapClass": labels[None].astype(np.uint8)})
    small = (np.arange(1, 41) % 13 + 1)[None].astype(np.uint8)
    savemat(root / "class13Mapping.mat", {"classMapping13": {"labels13": small}})
    splits = {"trainNdxs": TRAIN, "testNdxs": TEST}
    savemat(root / "splits.mat", {k: np.array(v, np.uint16)[:, None] for k, v in splits.items()})


def small_scenes(root: Path, count: int = 6, height: int = HEIGHT) -> tuple[Any, Any]:
    """A MATLAB 7.3 file; returns images (N, H, W, 3) and labels (N, H, W)."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, height, WIDTH, 3), dtype=np.uint8)
    labels = rng.integers(0, 895, (count, height, WIDTH), dtype=np.uint16)
    with h5py.File(root / nyuv2.SCENES, "w", userblock_size=512) as file:
        how = {"chunks": True, "compression": "gzip"}
        file.create_dataset("images", data=images.transpose(0, 3, 2, 1), **how)
        file.create_dataset("labels", data=labels.transpose(0, 2, 1), **how)
        file.create_dataset("depths", data=np.zeros((count, WIDTH, height), np.float32), **how)
    return images, labels
