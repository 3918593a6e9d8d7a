"""Judges: the held-out images that teacher and student are evaluated on, and the resulting figures.

`judge_of` in `experiment/judges.py` chooses the judge of a recipe. All other code calls the judge
and uses the figures that it returns. It does not ask whether there are real images.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fastdfkd.core.answers import Output
from fastdfkd.core.confusion import confusion
from fastdfkd.core.evaluation import Evaluated, Predictor, Watch, agreement, evaluate_batches
from fastdfkd.core.task_kind import TaskKind
from fastdfkd.data.images import Images


class Judge(ABC):
    """Evaluates networks on images that neither teacher nor student was trained on."""

    @property
    @abstractmethod
    def judged_on(self) -> str:
        """What messages call the images."""

    @property
    def notes(self) -> list[str]:
        """What a user should know about the images, such as files that were skipped."""
        return []

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    def answers(
        self,
        network: nn.Module,
        normalise: Callable[[Tensor], Tensor],
        device: torch.device | str,
        *,
        output: Output = "logits",
        watch: Watch | None = None,
    ) -> Evaluated:
        """A network's answers for all images, in the form that `figures` expects.

        Args:
            network: on `device`. It is run in eval mode; its modes and state are restored.
            normalise: maps float images (B, C, H, W) in 0..1 on `device` to the network's input.
            device: device of the network.
            output: what the network returns.
            watch: called with the number of real images so far.
        """
        return self.answers_of(Predictor(network, normalise, device, output), watch)

    @abstractmethod
    def answers_of(self, predictor: Predictor, watch: Watch | None = None) -> Evaluated:
        """As `answers`, for a predictor."""

    def share(self, index: int, of: int) -> Judge:
        """The judge of one of `of` equal parts of the images.

        `core.evaluation.merged` makes the answers for all images from those of the parts, in order.
        What cannot be divided is in the first part.
        """
        return self if index == 0 else NothingHeldOut(self.judged_on)

    @abstractmethod
    def figures(
        self, answers: Evaluated, teacher_answers: Evaluated | None = None
    ) -> dict[str, float]:
        """The figures of a network, by their column names in `metrics.csv`.

        Args:
            answers: the network's, from `answers`.
            teacher_answers: the teacher's; None: figures that need them are left out.
        """

    @abstractmethod
    def confusions(self, answers: Evaluated, teacher_answers: Evaluated) -> dict[str, Tensor]:
        """Confusion matrices (K, K) int64 of a network, by what its classes are compared with.

        `teacher`: row: the class that the teacher assigns; column: the network's. `labels`: row:
        the label. Empty for too many classes (`core.confusion`).

        Args:
            answers: the network's, from `answers`.
            teacher_answers: the teacher's.
        """


def images_at_once(shape: tuple[int, int, int]) -> int:
    """Images (C, H, W) of a forward pass in an evaluation: 500, and fewer of large ones.

    On a CPU, feature maps of more than 32 MiB are given back to the operating system after every
    layer. Its work then takes longer than the network's: 13 images of 224 x 224 pixels at a time
    take 0.4 times the processor time of 111 (EfficientNet-Lite0).
    """
    return max(min(2**21 // math.prod(shape), 500), 1)


def _small(batches: Iterable[tuple[Tensor, Tensor]], most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of fewer images where they are larger than those that the network was made for."""
    for images, labels in batches:
        _, channels, height, width = images.shape
        size = min(most, images_at_once((channels, height, width)))
        yield from zip(torch.split(images, size), torch.split(labels, size), strict=True)


@dataclass(frozen=True)
class RealImages(Judge):
    """Evaluates on held-out real images: the task's figures and `agreement`, from 0 to 1."""

    test: Images
    kind: TaskKind
    batch_size: int = 500
    """Images per forward pass."""
    judged_on: str = "held-out real images"

    @property
    def notes(self) -> list[str]:
        """How classes were matched, and files that were skipped."""
        return self.test.notes

    def __len__(self) -> int:
        return len(self.test)

    def answers_of(self, predictor: Predictor, watch: Watch | None = None) -> Evaluated:
        """Classes of the images, and figures by their labels."""
        with closing(self.test.batches(self.batch_size)) as batches:
            parts = _small(batches, self.batch_size)
            return evaluate_batches(predictor, parts, self.kind, watch)

    def share(self, index: int, of: int) -> Judge:
        """That of some of the images; of nothing if there are fewer than `of`."""
        part = self.test.share(index, of)
        return replace(self, test=part) if len(part) else NothingHeldOut(self.judged_on)

    def figures(
        self, answers: Evaluated, teacher_answers: Evaluated | None = None
    ) -> dict[str, float]:
        """The task's figures, and with a teacher's answers `agreement`."""
        if teacher_answers is None:
            return answers.figures
        return {**answers.figures, "agreement": agreement(answers.classes, teacher_answers.classes)}

    def confusions(self, answers: Evaluated, teacher_answers: Evaluated) -> dict[str, Tensor]:
        """Against the teacher and against the labels."""
        taught, count = teacher_answers.classes, self.kind.num_classes
        found = {
            "teacher": confusion(taught, answers.classes, count),
            "labels": answers.confusion,
        }
        return {whom: pairs for whom, pairs in found.items() if pairs is not None}


@dataclass(frozen=True)
class RealAndSynthetic(Judge):
    """Evaluates on held-out real images and on synthetic ones: the figures of both."""

    real: Judge
    synthetic: Judge

    @property
    def judged_on(self) -> str:
        """The real images."""
        return self.real.judged_on

    @property
    def notes(self) -> list[str]:
        """Those of the real images."""
        return self.real.notes

    def __len__(self) -> int:
        return len(self.real)

    def share(self, index: int, of: int) -> Judge:
        """Some of the real images; the first part has all synthetic ones too."""
        real = self.real.share(index, of)
        return replace(self, real=real) if index == 0 else real

    def answers_of(self, predictor: Predictor, watch: Watch | None = None) -> Evaluated:
        """Classes and figures of the real images, logits of the synthetic ones."""
        seen = self.real.answers_of(predictor, watch)
        made = self.synthetic.answers_of(predictor)
        return replace(seen, logits={**seen.logits, **made.logits})

    def figures(
        self, answers: Evaluated, teacher_answers: Evaluated | None = None
    ) -> dict[str, float]:
        """Both judges' figures."""
        return {
            **self.real.figures(answers, teacher_answers),
            **self.synthetic.figures(answers, teacher_answers),
        }

    def confusions(self, answers: Evaluated, teacher_answers: Evaluated) -> dict[str, Tensor]:
        """Those of the real images."""
        return self.real.confusions(answers, teacher_answers)


@dataclass(frozen=True)
class NothingHeldOut(Judge):
    """The judge where there are no held-out images. It returns no figures."""

    judged_on: str = "held-out images"

    def __len__(self) -> int:
        return 0

    def answers_of(self, predictor: Predictor, watch: Watch | None = None) -> Evaluated:
        """No answers. The network is not run."""
        return Evaluated(classes=torch.zeros(0, dtype=torch.int64), figures={})

    def figures(
        self, answers: Evaluated, teacher_answers: Evaluated | None = None
    ) -> dict[str, float]:
        """An empty dictionary."""
        return {}

    def confusions(self, answers: Evaluated, teacher_answers: Evaluated) -> dict[str, Tensor]:
        """An empty dictionary."""
        return {}
