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
from fastdfkd.core.evaluation import accuracy, agreement, predict
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
    ) -> Tensor:
        """What a network says about every image, as `figures` takes it, on the CPU.

        Args:
            network: on `device`; its modes and its state stay as they are.
            normalise: from float images (B, C, H, W) in 0..1 on `device` to the network's input.
            device: where the network is.
            output: what the network returns.
        """

    def figures(self, answers: Tensor, teacher_answers: Tensor | None = None) -> dict[str, float]:
        """What is known of a network with these answers: columns of `metrics.csv`.

        Args:
            answers: of the network.
            teacher_answers: None: no teacher is at hand, and nothing is compared with it.
        """


@dataclass(frozen=True)
class RealImages:
    """Held-out real images: they give `accuracy` and `agreement`, shares from 0 to 1."""

    test: LabelledImages
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
    ) -> Tensor:
        """The likeliest class of each image: (N,) int64."""
        return predict(network, self.test.images, normalise, device, output=output)

    def figures(self, answers: Tensor, teacher_answers: Tensor | None = None) -> dict[str, float]:
        """`accuracy`, and with a teacher's answers `agreement`."""
        found = {"accuracy": accuracy(answers, self.test.labels)}
        if teacher_answers is not None:
            found["agreement"] = agreement(answers, teacher_answers)
        return found


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
    ) -> Tensor:
        """No answer: (0,) int64."""
        return torch.zeros(0, dtype=torch.int64)

    def figures(self, answers: Tensor, teacher_answers: Tensor | None = None) -> dict[str, float]:
        """No figure."""
        return {}
