"""What the images of a run are: their shape, their classes and how networks expect them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from fastdfkd.core.augment import Normalisation
from fastdfkd.core.task_kind import KINDS, TaskKind

if TYPE_CHECKING:
    from fastdfkd.recipe.image_input import TaskName


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """The images that teacher and student read. Two runs have the same data if these are equal."""

    name: str
    """Names the data in messages, files and keys of caches."""
    shape: tuple[int, int, int]
    """(C, H, W)."""
    num_classes: int
    class_names: tuple[str, ...] = ()
    """In the order of the labels; empty: the classes have no names."""
    mean: tuple[float, ...]
    """Per channel, of images in 0..1."""
    std: tuple[float, ...]
    """Per channel, of images in 0..1."""
    task: TaskName = "classification"
    """What networks predict for them."""
    caution: str = field(default="", compare=False)
    """What readers of figures on these images should know; empty if nothing."""

    def __post_init__(self) -> None:
        """Check that the fields fit each other.

        Raises:
            ValueError: they do not; the message names the field.
        """
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape: expected (C, H, W), each at least 1, got {self.shape}")
        if self.num_classes < 2:
            raise ValueError(f"classes: expected at least 2, got {self.num_classes}")
        void = self.kind.void
        if void is not None and self.num_classes > void:
            raise ValueError(
                f"classes: expected at most {void} for {self.task}, because label {void} means "
                f"void, got {self.num_classes}"
            )
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(
                f"class names: expected {self.num_classes}, one for each class, got "
                f"{len(self.class_names)}"
            )
        for what, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise ValueError(
                    f"{what}: expected {self.channels} numbers, one for each channel, got "
                    f"{len(values)}"
                )
        if min(self.std) <= 0:
            raise ValueError(f"std: expected numbers above 0, got {self.std}")

    @property
    def kind(self) -> TaskKind:
        """What a network answers for these images: what `task` names."""
        return KINDS[self.task](self.num_classes)

    @property
    def class_labels(self) -> list[str]:
        """Name of each class, in the order of the logits; its number where there are no names."""
        return list(self.class_names) or [str(number) for number in range(self.num_classes)]

    def facts(self) -> dict[str, Any]:
        """What the images are, as plain data for files. No `task` means classification."""
        return {
            "data": self.name,
            "shape": list(self.shape),
            "classes": self.num_classes,
            "mean": list(self.mean),
            "std": list(self.std),
            **({} if self.task == "classification" else {"task": self.task}),
        }

    @property
    def channels(self) -> int:
        """C: 1 for grey images, 3 for RGB."""
        return self.shape[0]

    def normalisation(self, device: torch.device | str) -> Normalisation:
        """From images in 0..1 to what the networks expect, on `device`."""
        return Normalisation(self.mean, self.std, device)
