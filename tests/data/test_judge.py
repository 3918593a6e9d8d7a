"""What networks are judged on, and which figures come of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.task_kind import Classification, Segmentation
from fastdfkd.data import Judge, LabelledImages, NothingHeldOut, RealImages
from fastdfkd.runs.metrics import JUDGED


class Brightest(nn.Module):
    """Says the channel with the largest mean, plus `shift`."""

    def __init__(self, shift: int = 0) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)).roll(self.shift, 1)


def plain(images: Tensor) -> Tensor:
    return images


@pytest.fixture
def judge() -> Judge:
    images = torch.zeros(4, 3, 4, 4, dtype=torch.uint8)
    for row, channel in enumerate((0, 1, 2, 2)):
        images[row, channel] = 200
    return RealImages(LabelledImages(images, torch.tensor([0, 1, 2, 0])), Classification(3))


def test_real_images_give_accuracy_and_agreement(judge: Judge) -> None:
    right, wrong = (judge.answers(Brightest(shift), plain, "cpu") for shift in (0, 1))
    assert right.classes.tolist() == [0, 1, 2, 2]
    assert judge.figures(right) == {"accuracy": 0.75}
    assert judge.figures(right, right) == {"accuracy": 0.75, "agreement": 1.0}
    assert judge.figures(wrong, right) == {"accuracy": 0.25, "agreement": 0.0}
    assert (len(judge), judge.judged_on) == (4, "held-out real images")


def test_confusions_are_with_the_teacher_and_with_the_labels(judge: Judge) -> None:
    teacher, student = (judge.answers(Brightest(shift), plain, "cpu") for shift in (0, 1))
    found = judge.confusions(student, teacher)
    assert found["teacher"].tolist() == [[0, 1, 0], [0, 0, 1], [2, 0, 0]]
    assert found["labels"].tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_answers_follow_the_normalisation_and_the_output(judge: Judge) -> None:
    assert judge.answers(Brightest(), lambda x: -x, "cpu").classes.tolist() == [1, 0, 0, 0]

    class Second(nn.Module):
        """The probability of the second of two classes."""

        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))[:, 1]

    answers = judge.answers(Second(), plain, "cpu", output="binary_probability")
    assert answers.classes.tolist() == [0, 1, 0, 0]


def test_without_images_nothing_is_known() -> None:
    judge: Judge = NothingHeldOut()
    network: Any = None
    answers = judge.answers(network, plain, "cpu")
    assert answers.classes.shape == (0,)
    assert judge.figures(answers) == judge.figures(answers, answers) == {}
    assert len(judge) == 0


def test_every_figure_is_a_column_of_an_evaluation(judge: Judge) -> None:
    answers = judge.answers(Brightest(), plain, "cpu")
    assert set(judge.figures(answers, answers)) == {"accuracy", "agreement"} < set(JUDGED)


class ImagesOfTwoSizes:
    """Implements what a judge needs of `Images`: 3 small images, then 2 large ones."""

    notes: tuple[str, ...] = ()

    def __init__(self) -> None:
        draws = torch.Generator().manual_seed(0)
        self.parts = [
            (
                torch.randint(256, (count, 3, *size), dtype=torch.uint8, generator=draws),
                torch.randint(3, (count, *size), generator=draws),
            )
            for count, size in ((3, (4, 4)), (2, (500, 700)))
        ]

    def __len__(self) -> int:
        return 5

    def batches(self, size: int) -> Generator[tuple[Tensor, Tensor], None, None]:
        yield from self.parts


def test_maps_of_several_sizes_are_judged_at_full_size() -> None:
    images: Any = ImagesOfTwoSizes()
    judge = RealImages(images, Segmentation(3), batch_size=3)
    sizes = []

    class Pixels(nn.Module):
        """Says the brightest channel of each pixel."""

        def forward(self, x: Tensor) -> Tensor:
            sizes.append(tuple(x.shape))
            return x

    answers = judge.answers(Pixels(), plain, "cpu")
    assert sizes == [(3, 3, 4, 4), (1, 3, 500, 700), (1, 3, 500, 700)], "few large ones at a time"
    pixels = [part.argmax(1) == labels for part, labels in images.parts]
    right = sum(int(part.sum()) for part in pixels)
    assert answers.figures["pixel_accuracy"] == pytest.approx(right / (3 * 16 + 2 * 350_000))
    assert answers.classes.shape == (3 * 16 + 2 * 350_000,)
    assert len(answers.class_ious) == 3
    assert judge.figures(answers, answers)["agreement"] == 1.0
