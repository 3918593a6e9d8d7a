"""Data sets of `torchvision.datasets`, by the name of their class."""

from __future__ import annotations

import hashlib
import inspect
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data.class_names import match_classes
from fastdfkd.data.images import Split
from fastdfkd.data.labels import checked_labels
from fastdfkd.data.places import needed_root
from fastdfkd.data.records import Found, IntArray
from fastdfkd.recipe import DataSection
from fastdfkd.recipe.messages import RecipeError, unknown
from fastdfkd.text.shown import reason, shown

PREFIX = "torchvision:"
_TARGETS = ("targets", "labels", "_labels", "y", "attr")
_SAMPLES = ("samples", "_samples", "imgs", "_images")
_SPLITS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "trainval", "training"),
    "test": ("test", "val", "validation", "testing"),
}


@dataclass(frozen=True, eq=False)
class TorchvisionRecords:
    """Images of one of torchvision's data sets."""

    data: Any
    labels: IntArray
    stamp: str

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, row: int) -> str:
        """The row's number."""
        return f"image {row}"

    def image(self, row: int) -> Image.Image:
        """The image of a row."""
        image = self.data[row][0]
        if not isinstance(image, Image.Image):
            raise ValueError(f"expected an image, got {type(image).__name__}")
        return image

    def digest(self) -> str:
        """SHA-256 over the data set's description and the labels."""
        return hashlib.sha256(self.stamp.encode() + self.labels.tobytes()).hexdigest()


def read_torchvision(section: DataSection, split: Split, spec: ImageSpec) -> Found | None:
    """A split of one of torchvision's data sets; None if it has no such split.

    Raises:
        ValueError: there is no such class, its files are missing, or it is no classification set.
    """
    data = _opened(section, split)
    if data is None:
        return None
    where = f"data ({section.name}, {split})"
    labels = checked_labels(_labels(data, where), len(data), spec, where)
    names, notes = [str(_one(name)) for name in getattr(data, "classes", [])], []
    if spec.class_names and len(set(names)) == spec.num_classes:
        numbers, how = match_classes(names, spec, where)
        if how.endswith("by name"):
            labels = np.array(numbers, np.int64)[labels]
            notes = [how]
    stamp = repr((section.name, split, section.arguments, len(data)))
    kept = notes or [f"{where}: the numbers of the labels are the classes"]
    return Found(TorchvisionRecords(data, labels, stamp), where, tuple(kept))


def torchvision_classes(section: DataSection) -> tuple[str, ...]:
    """Names of the classes, if the data set states them; empty if not."""
    data = _opened(section, "test") or _opened(section, "train")
    return tuple(str(_one(name)) for name in getattr(data, "classes", []))


def check_name(name: str) -> None:
    """Check that torchvision has a data set of a name `torchvision:CLASS`.

    Raises:
        RecipeError: it has none. The message lists the names.
    """
    _kind(name)


def _kind(name: str) -> Any:
    from torchvision import datasets

    kinds = {
        each: kind
        for each, kind in vars(datasets).items()
        if isinstance(kind, type) and issubclass(kind, datasets.VisionDataset)
    }
    wanted = name.removeprefix(PREFIX)
    if wanted not in kinds:
        raise RecipeError(unknown(f"data.name: class {shown(wanted)}", wanted, list(kinds)))
    return kinds[wanted]


def _opened(section: DataSection, split: Split) -> Any:
    """The data set of a split; None if it has no such split."""
    kind = _kind(section.name)
    root = needed_root(section)
    accepted = _accepted(kind)
    asked = section.split_path(split)
    options: list[dict[str, Any]]
    if "train" in accepted:
        options = [{"train": split == "train"}]
    elif "split" in accepted:
        names = [asked] if asked is not None else list(_SPLITS[split])
        options = [{"split": name} for name in names]
    else:
        options = [{}] if split == "test" else []
    further = {"download": section.download} if "download" in accepted else {}
    first: Exception | None = None
    for option in options:
        try:
            return kind(str(root), **{**option, **section.arguments}, **further)
        except (ValueError, RuntimeError, OSError, TypeError) as error:
            no_such_split = isinstance(error, ValueError) and re.search("split|arg", str(error))
            if not no_such_split:
                raise ValueError(_unusable(section, error)) from error
            first = first or error
    if first is not None and (asked is not None or split == "test"):
        raise ValueError(f"data.{split}: {section.name} has no such split ({reason(first)})")
    return None


def _accepted(kind: Any) -> set[str]:
    """Names of the parameters of a class; what it passes on to its base classes included."""
    found: set[str] = set()
    for each in kind.__mro__:
        if "__init__" in vars(each):
            parameters = inspect.signature(each.__init__).parameters.values()
            found.update(parameter.name for parameter in parameters)
            if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
                break
    return found


def _unusable(section: DataSection, error: Exception) -> str:
    if isinstance(error, TypeError):
        return (
            f"data.arguments: {section.name} cannot be opened with them ({reason(error)}); "
            "expected the keyword arguments of the class"
        )
    remedy = (
        "the download failed: put the files there yourself"
        if section.download
        else "put its files there, or set data.download: true"
    )
    what = f"{section.name} cannot be read from {section.root} ({reason(error)})"
    return f"data.root: {what}; {remedy}"


def _labels(data: Any, where: str) -> Any:
    """Labels from the attribute that holds them, else from the items one by one."""
    for name in _TARGETS:
        values = getattr(data, name, None)
        if values is not None and len(values) == len(data):
            return np.asarray(values)
    for name in _SAMPLES:
        values = getattr(data, name, None)
        if values and len(values) == len(data) and isinstance(values[0], tuple):
            return np.asarray([value[1] for value in values])
    labels = [data[row][1] for row in range(len(data))]
    if not all(isinstance(label, int | np.integer) for label in labels):
        raise ValueError(
            f"{where}: expected one class for each image, got {type(labels[0]).__name__}: use a "
            "data set for classification"
        )
    return np.asarray(labels)


def _one(name: Any) -> Any:
    """The first of several names of a class (ImageNet has synonyms)."""
    return name[0] if isinstance(name, tuple | list) and name else name
