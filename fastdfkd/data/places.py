"""Where the files of a data section lie."""

from __future__ import annotations

import zipfile
from collections.abc import Container
from pathlib import Path

from fastdfkd.data.file_tree import FileTree, file_tree
from fastdfkd.data.images import Split
from fastdfkd.recipe import DataSection

DEFAULTS: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "test": ("test", "val", "valid", "validation"),
}
"""Names of a split's files or folders, the first ones first, where the recipe gives none."""


def needed_root(section: DataSection) -> Path:
    """`data.root`, which must be set and exist, as an absolute path.

    Workers of Ray Train read the images in another working folder.

    Raises:
        ValueError: it is not.
    """
    if section.root is None:
        raise ValueError(
            f"data.root: is required with data.name: {section.name} and was not given: expected "
            "the path of the images"
        )
    root = Path(section.root).expanduser().absolute()
    try:
        exists = root.exists()
    except (OSError, ValueError):  # a name that no file can have
        exists = False
    if not exists and not section.download:
        raise ValueError(f"data.root: expected the path of the images, {root} does not exist")
    return root


def asked_tree(root: Path, asked: str, key: str) -> FileTree:
    """The files of a place within `root` that the recipe names: a folder, a zip, a folder in one.

    Args:
        root: a folder or a zip file.
        asked: path of the place.
        key: the recipe's key, for messages.

    Raises:
        ValueError: there is no such place.
    """
    path = root / Path(asked).expanduser()
    if path.exists():
        return file_tree(path)
    if root.is_file() and zipfile.is_zipfile(root):
        tree, parts = file_tree(root), asked.strip("/").split("/")
        for part in parts:
            if part not in tree.folders():
                raise ValueError(
                    f"{key}: expected the folder {asked} in {tree.place}, found "
                    f"{', '.join(tree.folders()[:12]) or 'no folder'}"
                )
            tree = tree.below(part)
        return tree
    raise ValueError(f"{key}: expected a folder or a zip file, {path} does not exist")


def unwrapped(tree: FileTree, known: Container[str] = ()) -> FileTree:
    """Without outer folders that hold nothing but one folder of folders.

    A folder that has the name of a split, or one of `known`, is no such folder.
    """
    splits = {name for names in DEFAULTS.values() for name in names}
    while len(folders := tree.folders()) == 1 and folders[0] not in splits:
        inner = tree.below(folders[0])
        if folders[0] in known or not inner.folders():
            break
        tree = inner
    return tree
