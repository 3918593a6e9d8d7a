"""The published splits and label maps of NYU Depth V2: 894 labels become 40 or 13 classes.

The three files are those of github.com/ankurhanda/nyuv2-meta-data. The user supplies them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastdfkd.data.images import Split
from fastdfkd.data.map_values import VOID
from fastdfkd.data.records import ClassMap, IntArray
from fastdfkd.text.shown import reason

SPLITS, TO_40, TO_13 = "splits.mat", "classMapping40.mat", "class13Mapping.mat"
_INDICES = {"train": "trainNdxs", "test": "testNdxs"}


def label_table(folder: Path, num_classes: int) -> ClassMap:
    """The class of each label of the scenes, (895,) uint8; label 0 is none and becomes 255.

    Args:
        folder: has `classMapping40.mat`, and `class13Mapping.mat` for 13 classes.
        num_classes: 13 or 40.

    Raises:
        ValueError: a file is missing or damaged, or holds something else.
    """
    to_40 = _numbers_in(folder / TO_40, lambda content: content["mapClass"], 894, 40)
    classes = to_40
    if num_classes == 13:
        to_13 = _numbers_in(
            folder / TO_13, lambda content: content["classMapping13"]["labels13"][0, 0], 40, 13
        )
        classes = to_13[to_40 - 1]
    return np.concatenate([[VOID], classes - 1]).astype(np.uint8)


def _numbers_in(path: Path, pick: Any, count: int, highest: int) -> IntArray:
    """`count` numbers from 1 to `highest` of a published file."""
    content = _matlab(path)
    try:
        numbers: IntArray = np.asarray(pick(content)).ravel().astype(np.int64)
        fits = len(numbers) == count and numbers.min() >= 1 and numbers.max() <= highest
    except (KeyError, IndexError, ValueError, TypeError):
        fits = False
    if not fits:
        raise ValueError(
            f"data ({path}): expected the published file with {count} numbers from 1 to {highest}, "
            "it holds something else: fetch it again"
        )
    return numbers


def scene_numbers(folder: Path, split: Split) -> IntArray:
    """Numbers of the scenes of a split, (N,) from 0, ascending.

    Args:
        folder: has `splits.mat`, whose numbers begin with 1.
        split: which scenes.

    Raises:
        ValueError: the file is missing or damaged, or holds something else.
    """
    path, key = folder / SPLITS, _INDICES[split]
    content = _matlab(path)
    numbers = np.sort(np.asarray(content.get(key, [])).ravel().astype(np.int64)) - 1
    if not len(numbers) or numbers[0] < 0:
        raise ValueError(
            f"data ({path}): expected {key}, numbers of scenes from 1, it holds something else: "
            "fetch it again"
        )
    return numbers


def _matlab(path: Path) -> dict[str, Any]:
    """Content of a MATLAB file of the older kind, by name."""
    if not path.is_file():
        raise ValueError(
            f"data.root: expected the published file {path.name} next to the file of the scenes, "
            f"{path} does not exist"
        )
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(path)
    except Exception as error:  # scipy raises anything for a damaged file
        raise ValueError(
            f"data ({path}): cannot be read as a MATLAB file ({reason(error)}): fetch it again"
        ) from error
    return content
