"""CIFAR-10 and CIFAR-100, read by torchvision from files on disk. Nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import torch

from fastdfkd.data.images import LabelledImages, Split

CIFAR_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"


def load_cifar(name: str, split: Split, root: str | Path | None) -> LabelledImages:
    """The 50,000 training or 10,000 test images (N, 3, 32, 32) of `cifar10` or `cifar100`.

    Raises:
        ValueError: `root` is not set, or a file in it is missing or has another checksum.
    """
    from torchvision import datasets

    folder = CIFAR_FOLDERS[name]
    fetch = f"fetch the Python version from {_PAGE} and unpack it there"
    if root is None:
        raise ValueError(
            f"data.root: expected the folder that contains {folder}/, because data.name is {name}; "
            "it is not set; "
            f"{fetch}, then set data.root"
        )
    place = Path(root).expanduser()
    if not (place / folder).is_dir():
        raise ValueError(
            f"data.root: expected the folder {place / folder}, which does not exist; {fetch}"
        )
    kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
    try:
        content = kind(str(place), train=split == "train", download=False)
    except RuntimeError as error:
        raise ValueError(
            f"data.root: files of {name} in {place / folder} are missing or altered ({error}); "
            f"delete the folder and {fetch}"
        ) from error
    images = torch.from_numpy(content.data).permute(0, 3, 1, 2).contiguous()
    return LabelledImages(images, torch.tensor(content.targets, dtype=torch.int64))
