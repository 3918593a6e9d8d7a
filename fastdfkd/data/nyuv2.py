"""NYU Depth V2 (Silberman et al., ECCV 2012), 1,449 indoor scenes, read scene by scene.

`data.root` holds `nyu_depth_v2_labeled.mat` and three small published files: `splits.mat`,
`classMapping40.mat` and, for 13 classes, `class13Mapping.mat`. Or it holds the scenes as image
files, `image/SPLIT/NAME.png` with `seg13/SPLIT/NAME.png` or `seg40/SPLIT/NAME.png`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data.decoding import image_from_array
from fastdfkd.data.images import Split
from fastdfkd.data.map_folder import mapped_files
from fastdfkd.data.map_trees import trees_of
from fastdfkd.data.map_values import MapValues
from fastdfkd.data.nyuv2_labels import SPLITS, TO_40, label_table, scene_numbers
from fastdfkd.data.places import needed_root
from fastdfkd.data.records import ClassMap, Found, IntArray, WrongLabels
from fastdfkd.data.stated import Stated
from fastdfkd.recipe import DataSection
from fastdfkd.text.shown import reason

SCENES = "nyu_depth_v2_labeled.mat"

_NAMES_13 = "bed,books,ceiling,chair,floor,furniture,objects,picture,sofa,table,tv,wall,window"
_NAMES_40 = (
    "wall,floor,cabinet,bed,chair,sofa,table,door,window,bookshelf,picture,counter,blinds,desk,"
    "shelves,curtain,dresser,pillow,mirror,floor mat,clothes,ceiling,books,refridgerator,"
    "television,paper,towel,shower curtain,box,whiteboard,person,night stand,toilet,sink,lamp,"
    "bathtub,bag,otherstructure,otherfurniture,otherprop"  # as published, errors included
)

RESIZE = (256, 341)
"""(height, width): the short side of 480 x 640 pixels becomes 256, as in the published training."""

_CACHE_BYTES = 64 * 2**20

NYUV2 = Stated(
    name="nyuv2",
    shape=(3, 128, 128),
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    task="segmentation",
    label_sets=(tuple(_NAMES_13.split(",")), tuple(_NAMES_40.split(","))),
)
"""The crop and the normalisation of the published training."""


@dataclass(eq=False)
class Scenes:
    """Scenes of `nyu_depth_v2_labeled.mat`. A scene is read when it is needed."""

    path: Path
    numbers: IntArray
    """(N,) from 0."""
    table: ClassMap
    """(895,) the class of each label, 255 for none."""
    stamp: str
    _open: dict[int, Any] = field(default_factory=dict, repr=False)
    """The opened file of each process, by process number."""

    def __len__(self) -> int:
        return len(self.numbers)

    def name(self, row: int) -> str:
        """The scene's number, from 1 as in `splits.mat`."""
        return f"scene {self.numbers[row] + 1}"

    def image(self, row: int) -> Image.Image:
        """The image, stored as (3, width, height)."""
        return image_from_array(self._stored("images", row).transpose(2, 1, 0))

    def class_map(self, row: int) -> ClassMap:
        """The map, stored as labels (width, height), 0 for none."""
        labels = self._stored("labels", row).T
        if labels.max() >= len(self.table):
            raise WrongLabels(
                f"label map of {self.name(row)}: expected labels from 0 to {len(self.table) - 1}, "
                f"as many as {TO_40} maps, got {labels.max()}"
            )
        return np.ascontiguousarray(self.table[labels])

    def digest(self) -> str:
        """SHA-256 over the file's size and time, the numbers and the classes of the labels."""
        content = self.stamp.encode() + self.numbers.tobytes() + self.table.tobytes()
        return hashlib.sha256(content).hexdigest()

    def _stored(self, name: str, row: int) -> npt.NDArray[Any]:
        process = os.getpid()
        if process not in self._open:
            # A chunk of the file may hold many scenes: the cache keeps it for the next ones
            file = _h5py().File(self.path, "r", rdcc_nbytes=_CACHE_BYTES, rdcc_nslots=10_007)
            self._open = {process: file}
        stored: npt.NDArray[Any] = self._open[process][name][int(self.numbers[row])]
        return stored

    def __getstate__(self) -> dict[str, Any]:
        """Without the opened file."""
        return {**self.__dict__, "_open": {}}


def read_nyuv2(section: DataSection, split: Split, spec: ImageSpec) -> Found | None:
    """The scenes of a split.

    Raises:
        ValueError: a file is missing or damaged, or holds something else.
    """
    root = needed_root(section)
    scenes = root if root.is_file() and root.suffix == ".mat" else root / SCENES
    if not scenes.is_file():
        return _read_files(section, split, spec)
    folder = scenes.parent
    table = label_table(folder, spec.num_classes)
    numbers = scene_numbers(folder, split)
    count = _scene_count(scenes)
    if numbers.max() >= count:
        raise ValueError(
            f"data ({scenes}): {SPLITS} names scene {numbers.max() + 1}, expected at least as many "
            f"scenes, found {count}: the two files do not belong together"
        )
    facts = scenes.stat()
    stamp = repr((scenes.name, facts.st_size, facts.st_mtime_ns))
    return Found(Scenes(scenes, numbers, table, stamp), f"data ({scenes})", resize=RESIZE)


def _read_files(section: DataSection, split: Split, spec: ImageSpec) -> Found | None:
    """Scenes as image files; maps have 0 for void and classes from 1, as published."""
    maps = section.labels or f"seg{spec.num_classes}"
    try:
        pair = trees_of(section, split, section.images or "image", maps)
    except ValueError as error:
        raise ValueError(
            f"{error}. data.name: nyuv2 expects in data.root either {SCENES} or the folders image "
            f"and {maps}"
        ) from error
    if pair is None:
        return None
    void = 0 if section.void is None else section.void
    first = 1 if section.first_label is None else section.first_label
    found = mapped_files(pair, MapValues(spec.num_classes, void, first), section.broken_share)
    return Found(found.records, found.where, found.notes, RESIZE)


def _scene_count(path: Path) -> int:
    """Number of scenes of the file; its arrays are checked, not read."""
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            shapes = {name: (file[name].shape, file[name].dtype) for name in ("images", "labels")}
    except (OSError, KeyError, AttributeError) as error:
        raise ValueError(
            f"data ({path}): expected an HDF5 file with images and labels, it cannot be read "
            f"({reason(error)}). If it is {SCENES}, it is cut off or damaged: fetch it again"
        ) from error
    (images, pixel), (labels, label) = shapes["images"], shapes["labels"]
    fits = len(images) == 4 and labels == (images[0], *images[2:]) and images[1] == 3
    if not fits or pixel != np.uint8 or label.kind not in "iu":
        raise ValueError(
            f"data ({path}): expected images (N, 3, width, height) uint8 and labels (N, width, "
            f"height) of whole numbers, got {images} {pixel} and {labels} {label}"
        )
    return int(images[0])


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise ValueError(
            f"data.name: nyuv2 reads {SCENES} with the package h5py, which cannot be imported "
            f"({reason(error)}): pip install 'fastdfkd[segmentation]'"
        ) from error
    module: ModuleType = h5py
    return module
