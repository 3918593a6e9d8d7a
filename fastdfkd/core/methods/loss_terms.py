"""The loss terms of a step: which there are, and the images of the step whose loss was lowest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

TERMS = ("loss", "bn", "oh", "adv")
"""Those of `objective.InversionObjective`, in their order. The first is the sum with weights."""


class DivergedError(FloatingPointError):
    """A loss of a batch became NaN or infinite. `terms`: which, in the first step where one was."""

    def __init__(self, round: int, terms: Iterable[str], cause: str = ""):
        self.round, self.terms = round, tuple(terms)
        named = ", ".join(term for term in self.terms if term != "loss") or "the images' priors"
        cause = cause or (
            "lower the learning rates or loss weights of synthesis, or use "
            "platform.precision=float32"
        )
        super().__init__(
            f"synthesis of round {round} diverged: a loss became NaN or infinite, first {named}; "
            f"{cause}"
        )


def plus(terms: Tensor, prior: Tensor) -> Tensor:
    """The loss terms (n,) with a prior added to the first, `loss`."""
    return torch.cat([(terms[0] + prior)[None], terms[1:].detach()])


class Best:
    """Keeps the images of the step with the lowest loss, without waiting for the device.

    The first `offer` allocates its tensors; they are changed in place from then on.
    """

    def __init__(self, names: Sequence[str] = TERMS) -> None:
        self.names = names
        """Of the loss terms, in their order."""
        self.terms: Tensor | None = None
        self.first: Tensor | None = None
        """Terms of the first step with a term that is not finite, or else of the last step."""
        self.kept: list[Tensor] = []
        """What was offered with the kept step: images, answers, and what else there was."""

    def offer(self, terms: Tensor, images: Tensor, answers: Tensor, *more: Tensor) -> None:
        """Keep the step if `terms[0]` is the lowest loss so far.

        Args:
            terms: loss terms in the order of `names`, (n,).
            images: (B, C, H, W).
            answers: the teacher's logits for them, (B, K, *space).
            more: other tensors of the step.
        """
        terms, offered = terms.detach(), [each.detach() for each in (images, answers, *more)]
        if self.terms is None or self.first is None:
            self.terms, self.first = torch.empty_like(terms), torch.empty_like(terms)
            self.kept = [torch.empty_like(each) for each in offered]
            self.forget()
        better = terms[0] < self.terms[0]
        torch.where(better, terms, self.terms, out=self.terms)
        for new, kept in zip(offered, self.kept, strict=True):
            torch.where(better, new, kept, out=kept)
        torch.where(torch.isfinite(self.first).all(), terms, self.first, out=self.first)

    def forget(self) -> None:
        """Reset before a new batch."""
        if self.terms is not None and self.first is not None:
            self.terms.fill_(torch.inf)
            self.first.zero_()

    def take(self, round: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Return the images, the teacher's logits and the loss terms of the kept step.

        Waits for the device.

        Raises:
            DivergedError: a loss term of some step was NaN or infinite. Nothing may be learned from
                such a batch.
        """
        assert self.terms is not None
        assert self.first is not None
        finite(round, self.first.tolist(), self.names)
        losses = finite(round, self.terms.tolist(), self.names)
        return self.kept[0], self.kept[1], losses


def finite(round: int, terms: Sequence[float], names: Sequence[str] = TERMS) -> dict[str, float]:
    """The loss terms of a step by name.

    Raises:
        DivergedError: one of them is NaN or infinite.
    """
    named = dict(zip(names, terms, strict=True))
    bad = [name for name, value in named.items() if not math.isfinite(value)]
    if bad:
        raise DivergedError(round, bad)
    return named
