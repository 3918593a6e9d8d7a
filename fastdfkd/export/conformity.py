"""Compares what an exported program answers with what the network answers, image by image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from fastdfkd.core.task_kind import TaskKind
from fastdfkd.export.compared_images import Batch

TOLERANCE = 1e-3
"""Largest difference of a logit that an export may have, in units of the largest logit (or 1)."""
LEAST_AGREEMENT = 0.9
"""Least share of images, or pixels, to which an int8 program must assign the network's class."""

Answer = Callable[[Tensor], Tensor]
"""Maps images (B, C, H, W) uint8 in the network's size to logits (B, K, *space)."""


@dataclass(frozen=True, kw_only=True)
class Conformity:
    """How far two programs answer alike."""

    images: int
    largest_difference: float
    """Of a logit; NaN if an answer is not finite."""
    largest_logit: float
    """Largest absolute value of a logit of the network."""
    top1_agreement: float
    """Share of images, or pixels, to which both assign the same class, 0 to 1."""
    figures: Mapping[str, float]
    """The network's figures (`TaskKind.figures`), 0 to 1; empty without labels."""
    exported_figures: Mapping[str, float]
    """The same for the exported program."""

    def within(self, tolerance: float) -> bool:
        """Whether the largest difference is at most `tolerance` times the largest logit (or 1)."""
        return self.largest_difference <= tolerance * max(self.largest_logit, 1.0)

    def facts(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self)


def compared(
    network: Answer, exported: Answer, batches: Iterable[Batch], kind: TaskKind
) -> Conformity:
    """Run two programs on the same images.

    The first image is also given to the exported program alone: it must take any batch.

    Args:
        network: the reference.
        exported: the program to check.
        batches: images and labels, at least one image.
        kind: task of both.
    """
    pairs, counts = _Pairs(), [list[Tensor](), list[Tensor]()]
    with torch.inference_mode():
        for number, (images, labels) in enumerate(batches):
            logits = network(images)
            if number == 0:
                pairs.add(logits[:1], exported(images[:1]), counted=False)
            found = exported(images)
            pairs.add(logits, found)
            if labels is not None:
                for sums, answer in zip(counts, (logits, found), strict=True):
                    sums.append(kind.counts(answer, labels))
    figures = [kind.figures_of(torch.stack(sums).sum(0)) if sums else {} for sums in counts]
    return Conformity(
        images=pairs.images,
        largest_difference=pairs.difference,
        largest_logit=pairs.largest,
        top1_agreement=pairs.same / pairs.answers,
        figures=figures[0],
        exported_figures=figures[1],
    )


@dataclass
class _Pairs:
    """Sums and maxima over batches."""

    images: int = 0
    difference: float = 0.0
    largest: float = 0.0
    same: int = 0
    answers: int = 0

    def add(self, logits: Tensor, found: Tensor, *, counted: bool = True) -> None:
        """Add the answers (B, K, *space) of both to one batch."""
        if logits.shape != found.shape:
            raise ValueError(
                f"the exported program answers {tuple(found.shape)} where the network answers "
                f"{tuple(logits.shape)}: its forward pass depends on the batch, so that it cannot "
                "be exported in this format"
            )
        both = (self.difference, (logits - found).abs().max().item())
        # max() of Python may drop a NaN, and one NaN must show.
        self.difference = math.nan if any(map(math.isnan, both)) else max(both)
        self.largest = max(self.largest, logits.abs().max().item())
        if counted:
            same = logits.argmax(1) == found.argmax(1)
            self.images += len(logits)
            self.same += int(same.sum())
            self.answers += same.numel()
