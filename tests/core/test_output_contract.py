"""Outputs that are no logits of the task are refused, in words that say what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from fastdfkd.core.answers import SlicedOutput
from fastdfkd.core.network_contract import check_student, check_teacher
from fastdfkd.core.task_kind import Classification, Segmentation

from . import parts
from .odd_networks import Wrapped
from .unchanged import assert_unchanged, snapshot

KIND = Classification(parts.CLASSES)
REFUSALS: list[tuple[Callable[[], nn.Module], str]] = [
    (
        lambda: Wrapped(lambda x: ()),
        r"returns tuple in eval mode, expected logits.*Return a tensor of logits",
    ),
    (
        lambda: Wrapped(lambda x: {"boxes": x, "scores": x}),
        r"returns dict in eval mode, expected logits: .*`logits`.*keys: boxes, scores",
    ),
    (lambda: Wrapped(lambda x: "cat"), r"returns str in eval mode"),
    (lambda: Wrapped(lambda x: x.softmax(1)), r"returns probabilities.*output to probabilities"),
    (
        lambda: Wrapped(lambda x: x.log_softmax(1)),
        r"returns log-probabilities.*output to log_probabilities",
    ),
    (lambda: Wrapped(lambda x: x.sigmoid()), r"a sigmoid for each class.*multi-label"),
    (lambda: Wrapped(lambda x: x[:, :1]), r"\(2, 1\).*binary_logit.*regression is not supported"),
    (lambda: Wrapped(lambda x: x[:, 0]), r"\(1, 2\).*binary_logit.*regression is not supported"),
    (
        lambda: Wrapped(lambda x: x[..., None, None].expand(-1, -1, 4, 4)),
        r"one label per image, so maps",
    ),
    (lambda: Wrapped(lambda x: x[:, :2]), r"\(2, 2\).*expected \(2, 3\).*has 3 classes"),
    (
        lambda: Wrapped(lambda x: torch.cat([x[:, :1], x], 1)),
        r"\(2, 4\).*expected \(2, 3\).*output_slice to \[start, stop\]: \[1, 4\]",
    ),
]


@pytest.mark.parametrize(("teacher", "message"), REFUSALS, ids=[m for _, m in REFUSALS])
@pytest.mark.parametrize("training", [True, False])
def test_outputs_that_are_no_logits_are_refused_and_leave_no_trace(
    teacher: Callable[[], nn.Module], message: str, training: bool
) -> None:
    model = teacher().train(training)
    before = snapshot(model)
    with pytest.raises(ValueError, match=message):
        check_teacher(model, parts.IMAGE_SHAPE, KIND, 10.0)
    assert_unchanged(model, before)


def test_a_slice_must_have_the_datas_classes() -> None:
    network = nn.Sequential(parts.teacher(), nn.Linear(parts.CLASSES, 5))
    for good in ((1, 4), (2, 5)):
        check_teacher(network, parts.IMAGE_SHAPE, KIND, output=SlicedOutput("logits", *good))
    for bad in ((1, 5), (3, 6)):
        with pytest.raises(ValueError, match=rf"output_slice \[{bad[0]}, {bad[1]}\].*3 classes"):
            check_teacher(network, parts.IMAGE_SHAPE, KIND, output=SlicedOutput("logits", *bad))
    shares = nn.Sequential(network, nn.Softmax(1))
    with pytest.raises(ValueError, match="returns probabilities"):
        check_teacher(shares, parts.IMAGE_SHAPE, KIND, output=SlicedOutput("logits", 1, 4))
    sliced = SlicedOutput("probabilities", 1, 4)
    check_teacher(shares, parts.IMAGE_SHAPE, KIND, output=sliced)


def test_maps_of_logits_are_checked_against_segmentation() -> None:
    kind = Segmentation(parts.CLASSES)
    network = parts.segmenter(3)
    check_teacher(network, parts.IMAGE_SHAPE, kind, 10.0)
    check_student(network, parts.IMAGE_SHAPE, kind)
    with pytest.raises(ValueError, match=r"\(2, 3\) for 2.*\(2, 3, 8, 8\).*label per pixel"):
        check_teacher(parts.teacher(), parts.IMAGE_SHAPE, kind, 10.0)
    with pytest.raises(ValueError, match="returns probabilities"):
        check_teacher(nn.Sequential(network, nn.Softmax2d()), parts.IMAGE_SHAPE, kind, 10.0)
