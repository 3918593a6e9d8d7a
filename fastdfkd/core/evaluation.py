"""Evaluates a network on images with labels, and compares two networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import repeat

import torch
from torch import Tensor, nn

from fastdfkd.core.answers import Output, logits_in
from fastdfkd.core.confusion import confusion
from fastdfkd.core.task_kind import TaskKind

Watch = Callable[[int], object]
"""Called in an evaluation with the number of images so far."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluated:
    """Predictions of a network for a set of images, and its figures."""

    classes: Tensor
    """(P,) on the CPU, uint8 or int64: the class with the largest logit of each image, or of each
    pixel of all images, which may have several sizes."""
    figures: dict[str, float]
    """The task's figures (`TaskKind.figures`), 0 to 1; empty without labels."""
    class_ious: tuple[float, ...] = ()
    """Of each class, 0 to 1 or NaN (`TaskKind.class_ious`); empty without labels or maps."""
    confusion: Tensor | None = None
    """(K, K) int64: images, or pixels, of label [row] that are classified as [column]; None without
    labels, or for too many classes (`core.confusion`)."""
    counts: Tensor | None = None
    """What the figures were computed from (`TaskKind.counts`), on the CPU; None without labels."""
    logits: Mapping[str, Tensor] = field(default_factory=dict)
    """Logits (N, K, *space) float32 on the CPU for further images, by the name of the images. Of
    maps they may be those of a sample of pixels, (N, K, S)."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network, and what is needed to run it on uint8 images."""

    network: nn.Module
    """On `device`."""
    normalise: Callable[[Tensor], Tensor]
    """Maps float images (B, C, H, W) in 0..1 on `device` to the network's input."""
    device: torch.device | str
    """Device of the network."""
    output: Output = "logits"
    """What the network returns."""

    @contextmanager
    def running(self, kind: TaskKind) -> Iterator[Callable[[Tensor], Tensor]]:
        """A function from images (B, C, H, W) uint8 to logits (B, K, *space) on `device`.

        Inside the block the network is in eval mode, without gradients. Its modes and state stay
        as they were.
        """

        def logits(images: Tensor) -> Tensor:
            answer = self.network(self.normalise(images.to(self.device).float() / 255))
            return logits_in(answer, self.output, kind.spatial_axes)

        with _eval_mode(self.network), torch.inference_mode():
            yield logits


def evaluate(
    model: nn.Module,
    images: Tensor,
    labels: Tensor | None,
    kind: TaskKind,
    normalise: Callable[[Tensor], Tensor],
    device: torch.device | str,
    batch_size: int = 500,
    *,
    output: Output = "logits",
) -> Evaluated:
    """`evaluate_batches` for images and labels in memory.

    Args:
        model: network on `device`, see `Predictor`.
        images: (N, C, H, W) uint8, on any device.
        labels: (N, *space) integers, on any device; None where there are none.
        kind: task of the network.
        normalise: maps images to the model's input.
        device: where the model is.
        batch_size: images per forward pass.
        output: what the model's outputs hold.

    Raises:
        ValueError: there is no image, or the labels do not have the shape (N, *space).
    """
    if not len(images) or (labels is not None and len(labels) != len(images)):
        raise ValueError(
            f"expected at least one image and one label for each, got {len(images)} images "
            f"and {'no' if labels is None else len(labels)} labels"
        )
    parts: Iterable[Tensor | None] = repeat(None)
    if labels is not None:
        parts = torch.split(labels, batch_size)
    batches = zip(torch.split(images, batch_size), parts, strict=False)
    return evaluate_batches(Predictor(model, normalise, device, output), batches, kind)


def evaluate_batches(
    predictor: Predictor,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    kind: TaskKind,
    watch: Watch | None = None,
) -> Evaluated:
    """Classes and figures of a network in eval mode.

    Args:
        predictor: the network.
        batches: of images (B, C, H, W) uint8, on any device, and labels (B, *space) integers or
            None. Each batch is used once, then dropped.
        kind: task of the network.
        watch: called after each batch.

    Raises:
        ValueError: there is no batch, or labels do not have the shape (B, *space).
    """
    classes, counts, done = [], list[Tensor](), 0
    confusions: Tensor | None = None
    with predictor.running(kind) as logits_for:
        for batch, wanted in batches:
            logits = logits_for(batch)
            found = logits.argmax(1)
            classes.append(_compact(found, kind.num_classes))
            done += len(batch)
            if watch is not None:
                watch(done)
            if wanted is not None:
                _check_same_shape(found, wanted)
                counts.append(kind.counts(logits, wanted.to(predictor.device)))
                pairs = confusion(wanted, found, kind.num_classes, kind.void)
                confusions = pairs if confusions is None or pairs is None else confusions + pairs
    if not classes:
        raise ValueError("expected at least one batch of images, got none")
    if not counts:
        return Evaluated(classes=torch.cat(classes), figures={})
    return _of_counts(torch.cat(classes), torch.stack(counts).sum(0), confusions, kind)


def merged(parts: Sequence[Evaluated], kind: TaskKind) -> Evaluated:
    """The evaluation of all images from those of parts of them, in the order of the images.

    Args:
        parts: at least one. Logits for further images are those of the first part.
        kind: task of the network.
    """
    classes = torch.cat([part.classes for part in parts])
    counts = [part.counts for part in parts if part.counts is not None]
    if not counts:
        return replace(parts[0], classes=classes)
    pairs = [part.confusion for part in parts if part.counts is not None]
    known = [each for each in pairs if each is not None]
    confusions = torch.stack(known).sum(0) if len(known) == len(pairs) else None
    total = _of_counts(classes, torch.stack(counts).sum(0), confusions, kind)
    return replace(total, logits=parts[0].logits)


def _of_counts(
    classes: Tensor, counts: Tensor, confusions: Tensor | None, kind: TaskKind
) -> Evaluated:
    return Evaluated(
        classes=classes,
        figures=kind.figures_of(counts),
        class_ious=tuple(kind.class_ious(counts).tolist()),
        confusion=confusions,
        counts=counts.cpu(),
    )


def _compact(classes: Tensor, num_classes: int) -> Tensor:
    """Classes (P,) on the CPU in the smallest type: maps of many images take much memory."""
    small = num_classes <= torch.iinfo(torch.uint8).max + 1
    return classes.flatten().to("cpu", torch.uint8 if small else torch.int64)


def logits_of(
    predictor: Predictor,
    images: Tensor,
    kind: TaskKind,
    batch_size: int = 500,
    positions: Tensor | None = None,
) -> Tensor:
    """Logits (N, K, *space) float32 on the CPU for images (N, C, H, W) uint8, in eval mode.

    Args:
        predictor: the network.
        images: uint8.
        kind: task of the network.
        batch_size: images per forward pass.
        positions: (N, S) int64, the pixels y * W + x of each image whose logits are wanted. The
            result is then (N, K, S).
    """
    parts = []
    with predictor.running(kind) as logits_for:
        for start in range(0, len(images), batch_size):
            logits = logits_for(images[start : start + batch_size]).float().cpu()
            if positions is not None:
                wanted = positions[start : start + batch_size, None].expand(-1, logits.shape[1], -1)
                logits = logits.flatten(2).gather(2, wanted)
            parts.append(logits)
    return torch.cat(parts)


def agreement(first: Tensor, second: Tensor) -> float:
    """Share of images, or of pixels, that two networks assign to the same class, 0 to 1.

    Args:
        first: classes of one network, integers of any shape.
        second: those of the other, of the same shape.

    Raises:
        ValueError: the shapes differ, or there is nothing to compare.
    """
    _check_same_shape(first, second)
    return (first.cpu() == second.cpu()).double().mean().item()


def _check_same_shape(predictions: Tensor, labels: Tensor) -> None:
    if predictions.shape != labels.shape or not predictions.numel():
        raise ValueError(
            "expected one prediction for each of at least one label, "
            f"got {tuple(predictions.shape)} and {tuple(labels.shape)}"
        )


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """In eval mode; each module's own mode is restored afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
