from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from fastdfkd.core.network_contract import check_student, check_teacher
from fastdfkd.core.task_kind import Classification

from . import parts
from .odd_networks import (
    AssertsItsShape,
    Auxiliary,
    Counts,
    Detached,
    KeepsItsAnswer,
    NoGradient,
    OnlyWhileTraining,
    ReadsBytes,
    ReadsVectors,
    Versioned,
    Wrapped,
    folding,
    frozen,
    plain,
    purposed,
    scripted,
    with_weights,
)
from .unchanged import assert_unchanged, snapshot

KIND = Classification(parts.CLASSES)


def check(teacher: nn.Module, bn: float = 10.0) -> None:
    check_teacher(teacher, parts.IMAGE_SHAPE, KIND, bn)


def test_sound_networks_pass() -> None:
    check(parts.teacher())
    check(parts.teacher().double())
    check(plain(), bn=0.0)
    check(Auxiliary(), bn=0.0)
    check_student(Detached(), parts.IMAGE_SHAPE, KIND)
    counts = Counts()
    for network in (parts.teacher(), plain(), counts):
        check_student(network, parts.IMAGE_SHAPE, KIND)
    check(counts)
    assert counts.calls == 0


REFUSALS: list[tuple[Callable[[], nn.Module], str]] = [
    (plain, r"synthesis\.bn is 10\.0.*no BatchNorm.*set synthesis\.bn to 0"),
    (
        lambda: nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), plain()),
        r"Sequential has no BatchNorm.*track_running_stats=True",
    ),
    (lambda: with_weights("8.weight", float("nan")), r"not finite \(8\.weight\).*other weights"),
    (lambda: with_weights("1.running_var", float("inf")), r"not finite \(1\.running_var\)"),
    (lambda: with_weights("1.running_var", -5.0), r"NaN or infinity for random images"),
    (lambda: purposed("multi_label_classification"), r"multi_label.*no distribution over classes"),
    (lambda: purposed("regression"), r"regression is not supported.*no classes to distil"),
    (
        lambda: nn.Sequential(nn.utils.fusion.fuse_conv_bn_eval(*folding()), plain()),
        r"no BatchNorm layer.*folded into its convolution has no statistics left",
    ),
    (
        lambda: frozen(scripted(parts.teacher().eval())),
        r"TorchScript module.*torch\.jit\.freeze.*set synthesis\.bn to 0 or auto",
    ),
    (
        lambda: nn.Sequential(nn.BatchNorm2d(1), plain()),
        r"cannot read images of shape \(3, 8, 8\)",
    ),
    (AssertsItsShape, r"cannot read images of shape \(3, 8, 8\).*Wrong image height"),
    (ReadsVectors, r"cannot read images of shape \(3, 8, 8\)"),
    (Auxiliary, r"no image passes through a BatchNorm layer of the teacher.*synthesis\.bn to 0"),
    (Detached, r"the teacher's logits have no gradient for its images.*detach\(\)"),
    (KeepsItsAnswer, r"cannot read images.*\(an image in eval mode\).*whatever it read before"),
    (
        ReadsBytes,
        r"2 images in eval mode\): AssertionError\. It is given normalised float32 images",
    ),
    (Versioned, r"entries that are no tensors \(_extra_state\).*get_extra_state"),
]

STUDENTS: list[tuple[Callable[[], nn.Module], str]] = [
    (lambda: OnlyWhileTraining(lambda x: "cat"), r"the student returns str in train mode"),
    (lambda: OnlyWhileTraining(lambda x: x[:, :2]), r"the student returns \(4, 2\) for 4 images"),
    (lambda: OnlyWhileTraining(lambda x: x / 0), r"NaN or infinity for random images in train"),
    (lambda: Wrapped(lambda x: x.softmax(1)), r"the student returns probabilities"),
    (lambda: Wrapped(lambda x: x[:, :2]), r"the student returns \(2, 2\).*expected \(2, 3\)"),
    (lambda: with_weights("8.weight", float("nan")), r"the student's weights are not finite"),
    (NoGradient, r"the student's logits have no gradient for any of its weights"),
    (lambda: plain().requires_grad_(False), r"parameters that require gradients"),
    (
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        r"logits have no gradient for any",
    ),
    (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), r"student has lazy layers.*call it"),
    (lambda: Wrapped(lambda x: x.argmax(1)), r"the student returns int64 numbers.*before the arg"),
    (
        lambda: frozen(scripted(parts.teacher().eval())),
        r"student is a TorchScript module without weights.*torch\.jit\.freeze",
    ),
]


@pytest.mark.parametrize(("student", "message"), STUDENTS, ids=[m for _, m in STUDENTS])
def test_students_that_cannot_learn_are_refused(
    student: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_student(student(), parts.IMAGE_SHAPE, KIND)


@pytest.mark.parametrize(("teacher", "message"), REFUSALS, ids=[m for _, m in REFUSALS])
@pytest.mark.parametrize("training", [True, False])
def test_refusals_say_what_to_do_and_leave_no_trace(
    teacher: Callable[[], nn.Module], message: str, training: bool
) -> None:
    model = teacher().train(training)
    before = snapshot(model)
    with pytest.raises(ValueError, match=message):
        check(model)
    assert_unchanged(model, before)


def test_mixed_training_flags_stay_as_they_were() -> None:
    teacher = parts.teacher().train()
    teacher[1].eval()
    teacher[0].weight.requires_grad_(False)
    before = snapshot(teacher)
    check(teacher)
    assert_unchanged(teacher, before)


def test_the_check_draws_no_global_random_numbers() -> None:
    before = torch.get_rng_state()
    check(parts.teacher())
    assert torch.equal(before, torch.get_rng_state())
