from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.answers import SlicedOutput
from fastdfkd.core.network_contract import check_student, check_teacher
from fastdfkd.core.task_kind import Classification, Segmentation

from . import parts

KIND = Classification(parts.CLASSES)


def check(teacher: nn.Module, bn: float = 10.0) -> None:
    check_teacher(teacher, parts.IMAGE_SHAPE, KIND, bn)


def plain() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, parts.CLASSES))


def with_weights(name: str, value: float) -> nn.Module:
    teacher = parts.teacher()
    teacher.state_dict()[name].reshape(-1)[0] = value
    return teacher


class Wrapped(nn.Module):
    """A teacher whose output is replaced by `change(output)`."""

    def __init__(self, change: Callable[[Tensor], object]):
        super().__init__()
        self.inner, self.change = parts.teacher(), change

    def forward(self, x: Tensor) -> object:
        return self.change(self.inner(x))


class OnlyWhileTraining(Wrapped):
    """Replaces its output in train mode only."""

    def forward(self, x: Tensor) -> object:
        return self.change(self.inner(x)) if self.training else self.inner(x)


class AssertsItsShape(nn.Module):
    """Like torchvision's vision transformers: an assertion about the image size."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        torch._assert(x.shape[2] == 224, "Wrong image height!")
        return self.norm(x)


class ReadsVectors(nn.Module):
    """BatchNorm1d raises a ValueError for images."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class Auxiliary(nn.Module):
    """Its only BatchNorm layer is in a head that is used in train mode only."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.head = plain(), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.main(self.head(x) if self.training else x)
        return logits


class Detached(nn.Module):
    """Its logits have no gradient for the images."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = parts.teacher()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x.detach())
        return logits


class NoGradient(Detached):
    """Its logits have no gradient for the weights either."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


class Counts(Detached):
    """Counts its calls in a buffer, and modifies its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x -= 0.5
        logits: Tensor = self.inner(x)
        return logits


class Versioned(Detached):
    """Has an entry in its state that is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}

    def set_extra_state(self, state: dict[str, int]) -> None:
        pass


def purposed(problem_type: str) -> nn.Module:
    """With a configuration like that of a `transformers` network."""
    network = parts.teacher()
    network.config = SimpleNamespace(problem_type=problem_type)
    return network


def folding() -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(3, 3, 1).eval(), nn.BatchNorm2d(3).eval()


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


def test_maps_of_logits_are_checked_against_segmentation() -> None:
    kind = Segmentation(parts.CLASSES)
    network = parts.segmenter(3)
    check_teacher(network, parts.IMAGE_SHAPE, kind, 10.0)
    check_student(network, parts.IMAGE_SHAPE, kind)
    with pytest.raises(ValueError, match=r"\(2, 3\) for 2.*\(2, 3, 8, 8\).*label per pixel"):
        check_teacher(parts.teacher(), parts.IMAGE_SHAPE, kind, 10.0)
    with pytest.raises(ValueError, match="returns probabilities"):
        check_teacher(nn.Sequential(network, nn.Softmax2d()), parts.IMAGE_SHAPE, kind, 10.0)


def scripted(network: nn.Module) -> nn.Module:
    with warnings.catch_warnings(action="ignore"):  # torch.jit is deprecated
        return torch.jit.script(network)  # type: ignore[no-any-return]


def frozen(script: nn.Module) -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        return torch.jit.freeze(script)  # type: ignore[no-any-return]


REFUSALS: list[tuple[Callable[[], nn.Module], str]] = [
    (plain, r"synthesis\.bn is 10\.0.*no BatchNorm.*set synthesis\.bn to 0"),
    (
        lambda: nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), plain()),
        r"Sequential has no BatchNorm.*track_running_stats=True",
    ),
    (lambda: with_weights("8.weight", float("nan")), r"not finite \(8\.weight\).*other weights"),
    (lambda: with_weights("1.running_var", float("inf")), r"not finite \(1\.running_var\)"),
    (lambda: with_weights("1.running_var", -5.0), r"NaN or infinity for random images"),
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


def snapshot(model: nn.Module) -> tuple[list[bool], dict[str, Tensor], list[bool]]:
    return (
        [module.training for module in model.modules()],
        copy.deepcopy(model.state_dict()),
        [p.requires_grad for p in model.parameters()],
    )


def assert_unchanged(
    model: nn.Module, before: tuple[list[bool], dict[str, Tensor], list[bool]]
) -> None:
    modes, state, gradients = snapshot(model)
    assert (modes, gradients) == (before[0], before[2])
    for name, value in state.items():
        torch.testing.assert_close(value, before[1][name], rtol=0, atol=0, equal_nan=True)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


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
