"""CIFAR-10 and CIFAR-100, read by torchvision from files on disk: unpacked, or in their archive."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fastdfkd.data.images import LabelledImages, Split
from fastdfkd.recipe import DataSection
from fastdfkd.text.shown import reason

_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"


def load_cifar(split: Split, section: DataSection) -> LabelledImages:
    """The 50,000 training or 10,000 test images (N, 3, 32, 32) of `cifar10` or `cifar100`.

    `data.root` is the folder that has the unpacked folder or the archive in it, or the archive
    itself. Archives are unpacked into a temporary folder. Nothing is downloaded unless
    `data.download` is set.

    Raises:
        ValueError: `root` is not set, or a file in it is missing or has another checksum.
    """
    from torchvision import datasets

    name, root = section.name, section.root
    kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
    folder = kind.base_folder
    fetch = f"fetch the Python version from {_PAGE} and unpack it there"
    if root is None:
        raise ValueError(
            f"data.root: expected the folder that contains {folder}/, because data.name is {name}; "
            "it is not set; "
            f"{fetch}, then set data.root"
        )
    place = Path(root).expanduser()
    archive = place if place.is_file() else place / kind.filename
    if not ((place / folder).is_dir() or archive.is_file() or section.download):
        raise ValueError(
            f"data.root: expected the folder {place / folder} or the archive {archive}, which do "
            f"not exist; {fetch}, or set data.download: true"
        )
    try:
        if archive.is_file() and not (place / folder).is_dir():
            with _unpacked(archive, kind) as temporary:
                content = kind(str(temporary), train=split == "train")
        else:
            content = kind(str(place), train=split == "train", download=section.download)
    except (RuntimeError, OSError, tarfile.TarError, EOFError) as error:
        raise ValueError(
            f"data.root: files of {name} in {place} are missing or altered ({reason(error)}); "
            f"delete them and {fetch}"
        ) from error
    images = torch.from_numpy(content.data).permute(0, 3, 1, 2).contiguous()
    return LabelledImages(images, torch.tensor(content.targets, dtype=torch.int64))


@contextmanager
def _unpacked(archive: Path, kind: Any) -> Iterator[Path]:
    """A temporary folder with the data set's own files of an archive, and no others."""
    names = [name for name, _ in (*kind.train_list, *kind.test_list)] + [kind.meta["filename"]]
    wanted = {f"{kind.base_folder}/{name}" for name in names}
    with tempfile.TemporaryDirectory() as folder, tarfile.open(archive) as content:
        (Path(folder) / kind.base_folder).mkdir()
        for member in content:
            data = content.extractfile(member) if member.name in wanted else None
            if data is not None:
                (Path(folder) / member.name).write_bytes(data.read())
        yield Path(folder)
