from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fastdfkd.core.task_kind import Classification, Segmentation
from fastdfkd.export.conformity import compared

IMAGES = torch.arange(4, dtype=torch.uint8).reshape(4, 1, 1, 1)
LABELS = torch.tensor([0, 1, 2, 0])


def answers(logits: Tensor) -> Callable[[Tensor], Tensor]:
    """A program that answers image number n with row n."""
    return lambda images: logits[images.reshape(-1).long()]


LOGITS = torch.tensor([[2.0, 0, 0], [0, 4.0, 0], [0, 0, 1.0], [0, 2.0, 0]])


def test_differences_classes_and_figures_are_counted_over_batches() -> None:
    other = LOGITS.clone()
    other[3] = torch.tensor([2.5, 2.0, 0])
    batches = [(IMAGES[:3], LABELS[:3]), (IMAGES[3:], LABELS[3:])]
    found = compared(answers(LOGITS), answers(other), batches, Classification(3))
    assert (found.images, found.largest_difference, found.largest_logit) == (4, 2.5, 4.0)
    assert found.top1_agreement == 0.75
    assert (found.figures, found.exported_figures) == ({"accuracy": 0.75}, {"accuracy": 1.0})
    assert found.within(0.625)
    assert not found.within(0.62)


@pytest.mark.parametrize("where", [0, 3])
def test_an_answer_that_is_not_finite_is_within_no_tolerance(where: int) -> None:
    other = LOGITS.clone()
    other[where, 0] = math.nan
    batches = [(IMAGES[:3], None), (IMAGES[3:], None)]
    found = compared(answers(LOGITS), answers(other), batches, Classification(3))
    assert math.isnan(found.largest_difference)
    assert not found.within(1e9)


def test_a_program_that_takes_one_size_of_batch_is_refused() -> None:
    def fixed(images: Tensor) -> Tensor:
        return LOGITS

    with pytest.raises(ValueError, match="its forward pass depends on the batch"):
        compared(answers(LOGITS), fixed, [(IMAGES, None)], Classification(3))


def test_pixels_count_for_a_task_with_a_label_for_each() -> None:
    logits = torch.zeros(2, 3, 4, 4)
    logits[:, 1] = 1
    other = logits.clone()
    other[0, 2, 0, 0] = 2
    images = torch.arange(2, dtype=torch.uint8).reshape(2, 1, 1, 1)
    labels = torch.ones(2, 4, 4, dtype=torch.int64)
    found = compared(answers(logits), answers(other), [(images, labels)], Segmentation(3))
    assert found.top1_agreement == 31 / 32
    assert found.figures["pixel_accuracy"] == 1.0
    assert found.exported_figures["pixel_accuracy"] == 31 / 32
