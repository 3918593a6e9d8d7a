"""Images in folders named after their classes (torchvision's `ImageFolder`), or a zip of them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data.class_names import match_classes
from fastdfkd.data.decoding import open_image
from fastdfkd.data.file_tree import FileTree, file_tree
from fastdfkd.data.images import Split
from fastdfkd.data.places import DEFAULTS, asked_tree, needed_root, unwrapped
from fastdfkd.data.records import Found, IntArray
from fastdfkd.recipe import DataSection

log = logging.getLogger(__name__)
_OTHER_FORMS = {".parquet": "parquet", ".npz": "npz", ".npy": "npz or npy"}
ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp", ".gif")


@dataclass(frozen=True, eq=False)
class FileRecords:
    """Image files of a folder or a zip file."""

    tree: FileTree
    paths: tuple[str, ...]
    labels: IntArray
    stamp: str

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, row: int) -> str:
        """The file's path."""
        return self.paths[row]

    def image(self, row: int) -> Image.Image:
        """The image in the file."""
        return open_image(self.tree.read(self.paths[row]))

    def digest(self) -> str:
        """SHA-256 over paths, sizes, times (in a zip: checksums) and labels."""
        return hashlib.sha256(self.stamp.encode() + self.labels.tobytes()).hexdigest()


def read_folder(section: DataSection, split: Split, spec: ImageSpec) -> Found | None:
    """The image files of a split; None if there is no such split.

    Raises:
        ValueError: there is no image, or the classes do not fit. The message says what to do.
    """
    tree = _tree_of(section, split)
    if tree is None:
        return None
    where, names = f"data ({tree.place})", tree.folders()
    every = tree.files()
    files = {path: stamp for path, stamp in every.items() if "/" in path}
    images = {path: stamp for path, stamp in files.items() if path.lower().endswith(ENDINGS)}
    if not names or not images:
        raise ValueError(
            f"{where}: expected a folder for each class with images in it ({', '.join(ENDINGS)}), "
            f"found {len(names)} folders with {len(images)} images and {len(every)} files in all. "
            f"{_advice(every)}"
        )
    if len(images) < len(files):
        log.info("%s: %d files are no images", where, len(files) - len(images))
    classes, how = match_classes(names, spec, where)
    by_name = dict(zip(names, classes, strict=True))
    labels = np.array([by_name[path.split("/")[0]] for path in images], np.int64)
    records = FileRecords(tree, tuple(images), labels, repr(images))
    return Found(records, where, (how,))


def _advice(files: Collection[str]) -> str:
    """What to do with a place that has no images in folders."""
    if any(path.lower().endswith(ENDINGS) for path in files):
        return "Put each image into a folder named after its class"
    for ending, name in _OTHER_FORMS.items():
        if any(path.lower().endswith(ending) for path in files):
            return f"It has files that end in {ending}: for those set data.name to {name}"
    return "Set data.test to the path of the held-out images within data.root"


def folder_classes(section: DataSection) -> tuple[str, ...]:
    """Sorted names of the class folders of the held-out images, or else of the training images."""
    tree = _tree_of(section, "test") or _tree_of(section, "train")
    return tuple(tree.folders()) if tree else ()


def _tree_of(section: DataSection, split: Split) -> FileTree | None:
    """Class folders of a split; None if there is no such split."""
    root, asked = needed_root(section), section.split_path(split)
    if asked is not None:
        return unwrapped(asked_tree(root, asked, f"data.{split}"))
    try:
        tree = unwrapped(file_tree(root))
    except ValueError as error:
        raise ValueError(f"data.root: {error}") from error
    zips = {file.stem: file for file in root.glob("*.zip")} if root.is_dir() else {}
    every = {name for names in DEFAULTS.values() for name in names}
    folders = {name for name in every & set(tree.folders()) if tree.below(name).folders()}
    for name in DEFAULTS[split]:
        if name in folders:
            return unwrapped(tree.below(name))
        if name in zips:
            return unwrapped(file_tree(zips[name]))
    if split == "train" or every & {*folders, *zips}:
        return None
    return tree
