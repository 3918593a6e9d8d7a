"""Where the files of a data section lie."""

from __future__ import annotations

from pathlib import Path

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
