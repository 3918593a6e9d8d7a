"""The images on which an exported program is compared with its network, and those of the bank."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.core.evaluation import Predictor
from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.task_kind import TaskKind
from fastdfkd.data import PartOfImages, RealAndSynthetic, SyntheticImages, images_at_once
from fastdfkd.experiment import image_spec, judge_of, real_images
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.text.shown import reason, shown_name
from fastdfkd.trainers.checkpoint import FOLDER, CheckpointFolder

Batch = tuple[Tensor, Tensor | None]
"""Images (B, C, H, W) uint8 in the student's size, and labels (B, *space) int64 or None."""

BANK, SYNTHETIC = "images of the bank", "held-out synthetic images"
CALIBRATION_IMAGES = 256
"""Images from which the ranges of an int8 program are taken."""
NOISE = 64
"""Images of random pixels, where a run has no others."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ComparedImages:
    """Images in the teacher's form, in batches."""

    batches: list[Batch]
    """In the teacher's size."""
    what: str
    """What messages call them, for example `held-out real images`."""

    def __len__(self) -> int:
        return sum(len(images) for images, _ in self.batches)

    @property
    def labelled(self) -> bool:
        """Whether their classes are known."""
        return all(labels is not None for _, labels in self.batches)

    def labelled_by(self, teacher: Predictor, kind: TaskKind) -> ComparedImages:
        """The same images, with the classes of the teacher as labels."""
        with teacher.running(kind) as logits:
            batches = [(images, logits(images).argmax(1)) for images, _ in self.batches]
        return replace(self, batches=list[Batch](batches))

    def sized(self, spec: ImageSpec) -> Iterator[Batch]:
        """The batches as a network with this description reads them: resized if need be."""
        for images, labels in self.batches:
            yield resized(images, spec), labels


def resized(images: Tensor, spec: ImageSpec) -> Tensor:
    """Images (B, C, h, w) uint8 of any size in the size of `spec`: bilinear, antialiased.

    For a task with a label for each pixel they keep their size, because such a network takes any.
    """
    size = spec.shape[1:]
    if spec.kind.spatial_axes or tuple(images.shape[2:]) == size:
        return images
    found = F.interpolate(images.float(), size, mode="bilinear", antialias=True)
    return found.round().clamp(0, 255).to(torch.uint8)


def compared_images(
    recipe: Recipe,
    folder: Path,
    most: int,
    *,
    teacher: Callable[[], nn.Module | None],
    root: str | Path | None = None,
) -> ComparedImages:
    """At most `most` images of a run, of the first kind that there is.

    Held-out real images; images of its bank; held-out synthetic images; images of random pixels.

    Args:
        recipe: of the run.
        folder: of the run.
        most: images.
        teacher: returns the run's teacher, or None. Called if synthetic images are needed.
        root: replaces `data.root` if set.

    Raises:
        ValueError: `root` is set, and its images cannot be read.
    """
    spec = image_spec(recipe)
    size = images_at_once(spec.shape)
    try:
        test = real_images(recipe, root).load("test", spec)
    except (ValueError, OSError) as error:
        if root is not None:
            raise
        log.warning("the run's real images cannot be read: %s", reason(error))
        test = None
    if test is not None:
        part = PartOfImages.of(test, most) if most < len(test) else test
        return ComparedImages(list(part.batches(size)), "held-out real images")
    images, what = bank_images(folder, most), BANK
    if images is None:
        images, what = synthetic_images_of(recipe, teacher(), most), SYNTHETIC
    if images is None:
        images, what = _noise(spec), "images of random pixels"
    return ComparedImages([(part, None) for part in torch.split(images, size)], what)


def calibration_images(
    recipe: Recipe, folder: Path, *, teacher: Callable[[], nn.Module | None]
) -> tuple[Tensor, str]:
    """Images (N, C, H, W) uint8 from which an int8 program takes its ranges, and what they are.

    Raises:
        ValueError: the run kept no images of its bank, and its teacher was not found.
    """
    images = bank_images(folder, CALIBRATION_IMAGES, others=True)
    what = BANK
    if images is None:
        images, what = synthetic_images_of(recipe, teacher(), CALIBRATION_IMAGES), SYNTHETIC
    if images is None:
        raise ValueError(
            f"--int8: {shown_name(folder)} keeps no images of its bank (checkpoints/), and the "
            "run's teacher was not found to make others: restore one of the two"
        )
    return images, f"{len(images):,} {what}"


def bank_images(folder: Path, most: int, *, others: bool = False) -> Tensor | None:
    """At most `most` images (N, C, H, W) uint8 of a run's newest checkpoint, drawn at random.

    Always the same ones. None: the run kept no checkpoint, or one without images.

    Args:
        folder: of the run.
        most: images.
        others: other images than those without this argument, as far as there are enough.
    """
    if not (folder / FOLDER).is_dir():
        return None
    try:
        checkpoint = CheckpointFolder(folder).newest()
    except ValueError as error:
        log.warning("the images of the run's bank cannot be read: %s", reason(error))
        return None
    rounds = checkpoint.images() if checkpoint is not None else {}
    if not rounds:
        return None
    images = torch.cat([rounds[number] for number in sorted(rounds)])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order[-most:] if others else order[:most]]


def synthetic_images_of(recipe: Recipe, teacher: nn.Module | None, most: int) -> Tensor | None:
    """At most `most` held-out synthetic images (N, C, H, W) uint8; None without a teacher.

    They are those of the run's evaluations if it had such images, else they are made.
    """
    if teacher is None:
        return None
    if not recipe.evaluation.synthetic_images:
        recipe = load_recipe(recipe, {"evaluation.synthetic_images": most})
    judge = judge_of(recipe, teacher)
    found = judge.synthetic if isinstance(judge, RealAndSynthetic) else judge
    return found.images[:most] if isinstance(found, SyntheticImages) else None


def _noise(spec: ImageSpec) -> Tensor:
    randomness = torch.Generator().manual_seed(0)
    return torch.randint(256, (NOISE, *spec.shape), dtype=torch.uint8, generator=randomness)
