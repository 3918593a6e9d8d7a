"""What teachers and students are judged on, and the figures that this gives.

`Experiment.judge` is the one place that decides it. Everything else asks the judge, and takes the
figures that it gives, whichever they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from fastdfkd.core.answers import Output
from fastdfkd.core.evaluation import Evaluated, agreement, evaluate
from fastdfkd.core.task_kind import TaskKind
from fastdfkd.data.images import LabelledImages


class Judge(Protocol):
    """Images that neither teacher nor student was trained on."""

    @property
    def judged_on(self) -> str:
        """Names the images in messages."""

    def __len__(self) -> int:
        """Number of images."""

    def answers(
        self,
        network: nn.Module,
        normalise: Callable[[Tensor], Tensor],
        device: torch.device | str,
        *,
        output: Output = "logits",
    ) -> Evaluated:
        """What a network answers for every image.

        Args:
            network: on `device`; its modes and its state stay as they are.
            normalise: from float images (B, C, H, W) in 0..1 on `device` to the network's input.
            device: where the network is.
            output: what the network returns.
        """

    def figures(
        self, answers: Evaluated, teacher_answers: Evaluated | None = None
    ) -> dict[str, float]:
        """What is known of a network with these answers: columns of `metrics.csv`.

        Args:
            answers: of the network.
            teacher_answers: None: no teacher is at hand, and nothing is compared with it.
        """


@dataclass(frozen=True)
class RealImages:
    """Held-out real images: they give the task's figures and `agreement`, shares from 0 to 1."""

    test: LabelledImages
    kind: TaskKind
    judged_on: str = "held-out real images"

    def __len__(self) -> int:
        return len(self.test)

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
    """There are no images to judge on: no figure is known."""

    judged_on: str = "held-out images"

    def __len__(self) -> int:
        return 0

    def answers(
        self,
        network: nn.Module,
        normalise: Callable[[Tensor], Tensor],
        device: torch.device | str,
        *,
        output: Output = "logits",
    ) -> Evaluated:
        """No answer."""
        return Evaluated(classes=torch.zeros(0, dtype=torch.int64), figures={})

    def figures(
        self, answers: Evaluated, teacher_answers: Evaluated | None = None
    ) -> dict[str, float]:
        """No figure."""
        return {}
