"""Where the images and the label maps of a split lie: two trees of files."""

from __future__ import annotations

from dataclasses import dataclass

from fastdfkd.data.file_tree import FileTree, file_tree
from fastdfkd.data.images import Split
from fastdfkd.data.places import DEFAULTS, asked_tree, needed_root, unwrapped
from fastdfkd.recipe import DataSection


@dataclass(frozen=True)
class Pair:
    """The files of the images and those of the label maps."""

    images: FileTree
    maps: FileTree


def trees_of(section: DataSection, split: Split, images: str, labels: str) -> Pair | None:
    """The two trees of a split: IMAGES/SPLIT and LABELS/SPLIT, or SPLIT/IMAGES and SPLIT/LABELS.

    Without any folder of a split, everything is held out.

    Args:
        section: `data` of the recipe.
        split: which images.
        images: path of the folder of the images.
        labels: path of the folder of the label maps.

    Returns:
        The trees; None if there is no such split.

    Raises:
        ValueError: the folder of the images or that of the maps is missing.
    """
    root, asked = needed_root(section), section.split_path(split)
    try:
        tree = unwrapped(file_tree(root), {images.split("/")[0], labels.split("/")[0]})
    except ValueError as error:
        raise ValueError(f"data.root: {error}") from error
    for name in DEFAULTS[split] if asked is None else [asked]:
        for form in ("{0}/{1}", "{1}/{0}"):
            if (found := _below(tree, form.format(images, name))) is not None:
                return Pair(found, _needed(tree, form.format(labels, name), "data.labels"))
    if asked is not None:
        tree = unwrapped(asked_tree(root, asked, f"data.{split}"), {images, labels})
    elif split == "train" or _has_split(tree, images):
        return None
    pair = (_needed(tree, images, "data.images"), _needed(tree, labels, "data.labels"))
    return Pair(*pair)


def _has_split(tree: FileTree, images: str) -> bool:
    names = [name for names in DEFAULTS.values() for name in names]
    forms = (f"{images}/{{0}}", f"{{0}}/{images}")
    return any(_below(tree, form.format(name)) is not None for name in names for form in forms)


def _needed(tree: FileTree, path: str, key: str) -> FileTree:
    found = _below(tree, path)
    if found is None:
        raise ValueError(
            f"{key}: expected the folder {path} in {tree.place}, found the folders "
            f"{', '.join(tree.folders()[:12]) or '(none)'}. With input.task: segmentation there "
            "are two folders, one of images and one of label maps"
        )
    return found


def _below(tree: FileTree, path: str) -> FileTree | None:
    """The files below a path; None if there is no such folder."""
    for part in path.strip("/").split("/"):
        if part not in tree.folders():
            return None
        tree = tree.below(part)
    return tree
