"""Real images, and where they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data.stated import Stated

Split = Literal["train", "test"]
"""`train`: a teacher is trained on it. `test`: teacher and student are judged on it."""


class Images(Protocol):
    """Real images and their labels, in memory or read from files when they are needed.

    A label is that of the task's kind (`core/task_kind.py`): a class for each image, or a map with
    a class for each pixel. In maps void is 255; readers translate the labels of their files.
    """

    @property
    def notes(self) -> list[str]:
        """What a user should know: how classes were matched, which files were skipped."""

    def __len__(self) -> int:
        """Number of images."""

    def digest(self) -> str:
        """SHA-256 (hex); images of another digest give another teacher."""

    def on(self, device: torch.device | str) -> Images:
        """The images on a device, if they are in memory; else unchanged."""

    def share(self, index: int, of: int) -> Images:
        """Part `index` of `of` equal parts, whose images follow each other."""

    def batches(
        self, size: int, order: Tensor | None = None
    ) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Batches of images (B, C, H, W) uint8 and labels (B, *space) int64, `size` or fewer.

        Images for classification have the height and width of `input.shape`. Those for
        segmentation are at least as high and wide as it: a teacher trains on random crops of that
        size, evaluations are at full size. All images of a batch have one size; images of several
        sizes come in more batches.

        Args:
            size: images of a batch.
            order: (M,) numbers of images, 0 to `len - 1`, on the images' device; None: all, in
                order.

        Raises:
            ValueError: too many files cannot be read.
        """


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of one size in memory, and their labels."""

    images: Tensor
    """(N, C, H, W) uint8."""
    labels: Tensor
    """(N,) int64, or maps (N, H, W) of any integer type, such as uint8."""
    said: tuple[str, ...] = ()
    """Its `notes`."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def notes(self) -> list[str]:
        """How classes were matched, which files were skipped."""
        return list(self.said)

    def check_fits(self, spec: ImageSpec) -> None:
        """Check shape and labels.

        Raises:
            ValueError: they are not those of `spec`.
        """
        shape, kind = tuple(self.images.shape[1:]), spec.kind
        if not kind.reads(shape, spec.shape):
            larger = " or larger" if kind.spatial_axes else ""
            raise ValueError(
                f"{spec.name}: expected images of shape {list(spec.shape)}{larger} (channels, "
                f"height, width), as input.shape or the data set says, got {list(shape)}"
            )
        expected = (len(self.images), *kind.space(shape))
        if tuple(self.labels.shape) != expected:
            raise ValueError(
                f"{spec.name}: expected labels of shape {list(expected)}, got "
                f"{list(self.labels.shape)}"
            )
        labels = self.labels[self.labels != kind.void] if kind.void is not None else self.labels
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < spec.num_classes:
            void = "" if kind.void is None else f", and {kind.void} for void"
            raise ValueError(
                f"{spec.name}: expected labels from 0 to {spec.num_classes - 1}{void}, got "
                f"{int(labels.min())} to {int(labels.max())}"
            )

    def digest(self) -> str:
        """SHA-256 (hex) over shape, pixels and labels."""
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().tobytes())
        digest.update(self.labels.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def on(self, device: torch.device | str) -> LabelledImages:
        """Copied to a device."""
        return LabelledImages(self.images.to(device), self.labels.to(device), self.said)

    def share(self, index: int, of: int) -> LabelledImages:
        """A view of some of the images."""
        parts = self.images.tensor_split(of), self.labels.tensor_split(of)
        return LabelledImages(parts[0][index], parts[1][index], self.said)

    def batches(
        self, size: int, order: Tensor | None = None
    ) -> Generator[tuple[Tensor, Tensor], None, None]:
        """See `Images`; views of the images where no order is given."""
        if order is None:
            parts = torch.split(self.images, size), torch.split(self.labels, size)
            yield from ((images, labels.long()) for images, labels in zip(*parts, strict=True))
            return
        for rows in torch.split(order, size):
            yield self.images[rows], self.labels[rows].long()


@dataclass(frozen=True, eq=False)
class PartOfImages:
    """Implements `Images`: some of other images."""

    whole: Images
    numbers: Tensor
    """(N,) int64, numbers of images in `whole`."""

    @classmethod
    def of(cls, whole: Images, count: int) -> PartOfImages:
        """`count` images drawn at random, always the same ones."""
        numbers = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
        return cls(whole, numbers[:count].sort().values)

    @property
    def notes(self) -> list[str]:
        """Those of the whole."""
        return self.whole.notes

    def __len__(self) -> int:
        return len(self.numbers)

    def digest(self) -> str:
        """SHA-256 (hex) of the whole's digest and the numbers."""
        content = f"{self.whole.digest()} {self.numbers.tolist()}"
        return hashlib.sha256(content.encode()).hexdigest()

    def on(self, device: torch.device | str) -> PartOfImages:
        """The whole on a device."""
        return PartOfImages(self.whole.on(device), self.numbers.to(device))

    def share(self, index: int, of: int) -> PartOfImages:
        """Some of the numbers."""
        return PartOfImages(self.whole, self.numbers.tensor_split(of)[index])

    def batches(
        self, size: int, order: Tensor | None = None
    ) -> Generator[tuple[Tensor, Tensor], None, None]:
        """See `Images`."""
        return self.whole.batches(size, self.numbers if order is None else self.numbers[order])


@dataclass(frozen=True)
class DataSource:
    """The real images that the data section of a recipe describes."""

    stated: ImageSpec | Stated
    """What the source states about its images; `experiment.image_spec` completes it."""
    load: Callable[[Split, ImageSpec], Images | None]
    """Returns the images of a split, or None if the source has no such split.

    Raises ValueError if files are missing or damaged.
    """
