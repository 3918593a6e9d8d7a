"""Judges: the held-out images that teacher and student are evaluated on, and the resulting figures.

`judge_of` in `experiment.py` chooses the judge of a recipe. All other code calls the judge and uses
the figures that it returns. It does not ask whether there are real images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from fastdfkd.core.answers import Output
from fastdfkd.core.evaluation import Evaluated, agreement, evaluate
from fastdfkd.core.task_kind import TaskKind
from fastdfkd.data.images import LabelledImages


class Judge(Protocol):
    """Evaluates networks on images that neither teacher nor student was trained on."""

    @property
    def judged_on(self) -> str:
        """What messages call the images."""

    def __len__(self) -> int:
        """Number of images."""

    def part(self, count: int) -> Judge:
        """A judge on `count` of the images, drawn at random and always the same; all if fewer."""

    def answers(
        self,
        network: nn.Module,
        normalise: Callable[[Tensor], Tensor],
        device: torch.device | str,
        *,
        output: Output = "logits",
    ) -> Evaluated:
        """A network's answers for all images, in the form that `figures` expects.

        Args:
            network: on `device`. It is run in eval mode; its modes and state are restored.
            normalise: maps float images (B, C, H, W) in 0..1 on `device` to the network's input.
            device: device of the network.
            output: what the network returns.
        """

    def figures(
        self, answers: Evaluated, teacher_answers: Evaluated | None = None
    ) -> dict[str, float]:
        """The figures of a network, by their column names in `metrics.csv`.

        Args:
            answers: the network's, from `answers`.
            teacher_answers: the teacher's; None: figures that need them are left out.
        """


@dataclass(frozen=True)
class RealImages:
    """Evaluates on held-out real images: the task's figures and `agreement`, from 0 to 1."""

    test: LabelledImages
    kind: TaskKind
    judged_on: str = "held-out real images"

    def __len__(self) -> int:
        return len(self.test)

    def part(self, count: int) -> RealImages:
        """See `Judge.part`."""
        return replace(self, test=self.test.part(count))

    def answers(
        self,
        network: nn.Module,
        normalise: Callable[[Tensor], Tensor],
        device: torch.device | str,
        *,
        output: Output = "logits",
    ) -> Evaluated:
        """Classes of the images, and figures by their labels."""
        images, labels = self.test.images, self.test.labels
        return evaluate(network, images, labels, self.kind, normalise, device, output=output)

    def figures(
        self, answers: Evaluated, teacher_answers: Evaluated | None = None
    ) -> dict[str, float]:
        """The task's figures, and with a teacher's answers `agreement`."""
        if teacher_answers is None:
            return answers.figures
        return {**answers.figures, "agreement": agreement(answers.classes, teacher_answers.classes)}


@dataclass(frozen=True)
class NothingHeldOut:
    """The judge where there are no held-out images. It returns no figures."""

    judged_on: str = "held-out images"

    def __len__(self) -> int:
        return 0

    def part(self, count: int) -> NothingHeldOut:
        """The same: there is nothing."""
        return self

    def answers(
        self,
        network: nn.Module,
        normalise: Callable[[Tensor], Tensor],
        device: torch.device | str,
        *,
        output: Output = "logits",
    ) -> Evaluated:
        """No answers. The network is not run."""
        return Evaluated(classes=torch.zeros(0, dtype=torch.int64), figures={})

    def figures(
        self, answers: Evaluated, teacher_answers: Evaluated | None = None
    ) -> dict[str, float]:
        """An empty dictionary."""
        return {}
