"""What teacher and student must be, checked before anything is made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fastdfkd.core.answers import BINARY, Output, logits_in, looks_like
from fastdfkd.core.bn_statistics import BatchNormStatistics, batch_norm_layers
from fastdfkd.core.task_kind import TaskKind

IMAGES = 2
"""Of a batch in eval mode; in train mode as many as an update has, up to `MOST_TRAINED`."""
MOST_TRAINED = 4
CONTRAST = 30.0
"""Factor on random images that drives logits out of any fixed range."""
_SCRIPTS = torch.jit.ScriptModule


def check_teacher(
    teacher: nn.Module,
    image_shape: Sequence[int],
    kind: TaskKind,
    bn: float = 0.0,
    *,
    output: Output = "logits",
) -> None:
    """Refuse a teacher that the method cannot learn from. Leaves the model as it was.

    Args:
        teacher: maps (B, C, H, W) float images to answers of `output`.
        image_shape: (C, H, W).
        kind: what its answers should be, with the classes of the data set.
        bn: weight of the BatchNorm-statistics loss.
        output: what its answers are.

    Raises:
        ValueError: no BatchNorm statistics while `bn` > 0, answers that are no
            logits of `kind`, values that are not finite, or logits without a gradient for the
            images. The message says what to do.
    """
    if bn > 0:
        _check_statistics(teacher, bn)
    _check_tensors(teacher, "teacher")
    statistics = BatchNormStatistics(teacher)
    with _mode(teacher, training=False), statistics.watching():
        pixels, logits = _answer(teacher, "teacher", image_shape, kind, output)
        seen, reached = statistics.newest, _gradient(logits, [pixels])
    if bn > 0 and not seen:
        raise ValueError(
            f"synthesis.bn is {bn}, but no image passes through a BatchNorm layer of the teacher "
            "in evaluation mode: set synthesis.bn to 0, or use a teacher whose BatchNorm layers "
            "are on the way to its logits"
        )
    _check_finite(logits, "teacher", "in eval mode")
    if reached[0] is None:
        raise ValueError(
            "no gradient comes from the teacher's logits back to its images, so none can be "
            "synthesised: take torch.no_grad() and detach() out of its forward"
        )
    _check_values(teacher, "teacher", image_shape, kind, output)


def check_student(
    student: nn.Module,
    image_shape: Sequence[int],
    kind: TaskKind,
    *,
    output: Output = "logits",
    batch_size: int = MOST_TRAINED,
    role: str = "student",
) -> None:
    """Refuse a student that cannot be trained. Leaves the model as it was.

    It is called in train mode as an update does, with backward, and in eval mode as synthesis and
    evaluation do. Answers in eval mode need not be finite yet: an untrained network's statistics
    may be far from its data.

    Args:
        student: maps (B, C, H, W) float images to answers of `output`.
        image_shape: (C, H, W).
        kind: what its answers should be, with the classes of the data set.
        output: what its answers are.
        batch_size: images that a worker's update has.
        role: what it is called; a teacher that is trained here has to be all that a student is.

    Raises:
        ValueError: answers that are no logits of `kind`, values that are not finite, or
            logits without a gradient for any weight. The message says what to do.
    """
    _check_tensors(student, role)
    weights = [parameter for parameter in student.parameters() if parameter.requires_grad]
    with _mode(student, training=False):
        _answer(student, role, image_shape, kind, output)
    images = max(min(batch_size, MOST_TRAINED), 1)
    with _mode(student, training=True):
        _, logits = _answer(student, role, image_shape, kind, output, images, "train")
        reached = _gradient(logits, weights)
    _check_finite(logits, role, "in train mode")
    if all(gradient is None for gradient in reached):
        raise ValueError(
            f"no gradient comes from the {role}'s logits to any of its weights, so it cannot "
            "learn: give it parameters that require gradients, and take torch.no_grad() and "
            "detach() out of its forward"
        )
    if not all(torch.isfinite(gradient).all() for gradient in reached if gradient is not None):
        raise ValueError(
            f"the {role}'s gradients are NaN or infinite for random images in train mode: look "
            "for square roots and divisions of zero in its forward"
        )
    _check_values(student, role, image_shape, kind, output)


def _check_statistics(teacher: nn.Module, bn: float) -> None:
    if batch_norm_layers(teacher):
        return
    name = type(teacher).__name__
    if any(isinstance(module, _SCRIPTS) for module in teacher.modules()):
        raise ValueError(
            f"synthesis.bn is {bn}, but the teacher is a TorchScript module ({name}), which does "
            "not show what passes through its BatchNorm layers: give the Python network that it "
            "was made from, with its weights, or set synthesis.bn to 0"
        )
    raise ValueError(
        f"synthesis.bn is {bn}, but the teacher {name} has no BatchNorm "
        "layer with running statistics, so that loss would be zero: set synthesis.bn to 0, "
        "or use a teacher with BatchNorm (track_running_stats=True)"
    )


def _answer(
    network: nn.Module,
    role: str,
    image_shape: Sequence[int],
    kind: TaskKind,
    output: Output,
    images: int = IMAGES,
    mode: str = "eval",
) -> tuple[Tensor, Tensor]:
    """Random pixels that require gradients, and the network's logits for them."""
    pixels = _pixels(network, image_shape, images).requires_grad_()
    try:
        with torch.enable_grad():
            answer = network(pixels * 1)  # no leaf, for forwards that begin in place
    except Exception as error:  # whatever a stranger's forward raises
        count = "an image" if images == 1 else f"{images} images"
        hint = "; raise distillation.batch_size" if images == 1 and mode == "train" else ""
        raise ValueError(
            f"the {role} cannot read images of shape {tuple(image_shape)} "
            f"({count} in {mode} mode): {error}{hint}"
        ) from error
    try:
        logits = logits_in(answer, output, kind.spatial_axes)
    except TypeError as error:
        raise ValueError(
            f"the {role} returns {type(answer).__name__} in {mode} mode, expected logits: {error}. "
            "Return logits (B, K), a tuple whose first entry they are, or a mapping or an object "
            "with `logits`"
        ) from error
    expected = kind.logits_shape(images, image_shape)
    if logits.shape != expected:
        raise ValueError(_wrong_shape(logits, role, expected, output))
    return pixels, logits


def _wrong_shape(logits: Tensor, role: str, expected: tuple[int, ...], output: Output) -> str:
    images, num_classes, *space = expected
    came = f"the {role} returns {tuple(logits.shape)} for {images} images"
    if output in BINARY:
        return (
            f"{came} as {role}.output: {output}, which is for one number an image and data of two "
            f"classes; the data has {num_classes}"
        )
    wanted = f"expected {expected}: the data has {num_classes} classes"
    if space:
        return f"{came}, {wanted} and one label for each pixel"
    if logits.ndim == 2 and (logits.shape[1] == 1 or logits.shape == (1, images)):
        return (
            f"{came}, {wanted}. One number an image is supported for two classes: set "
            f"{role}.output to binary_logit (before the sigmoid) or binary_probability (after it). "
            "A regression is not supported: there are no classes to distil"
        )
    if logits.ndim > 2:
        return f"{came}, {wanted} and one label an image. Maps of logits are not supported"
    return f"{came}, {wanted}; give the {role} that many outputs, or name the data that it is for"


def _check_finite(logits: Tensor, role: str, mode: str) -> None:
    if not torch.isfinite(logits).all():
        raise ValueError(
            f"the {role} returns NaN or infinity for random images {mode}: its weights or "
            "BatchNorm statistics are damaged; check them on real images, or use other weights"
        )


def _check_values(
    network: nn.Module, role: str, image_shape: Sequence[int], kind: TaskKind, output: Output
) -> None:
    """Answers are what `output` says, as far as values show it."""
    noise = _pixels(network, image_shape, 2 * IMAGES)
    noise[IMAGES:] *= CONTRAST
    with _mode(network, training=False), torch.no_grad():
        plain: Output = "binary_logit" if output in BINARY else "logits"
        try:
            answer = logits_in(network(noise), plain, kind.spatial_axes)
        except Exception:  # strong images are no promise
            return
    values = answer[:, 1:] if plain == "binary_logit" else answer
    found = looks_like([values])
    if output == "logits" and found is not None:
        raise ValueError(_NO_LOGITS[found].format(role=role))
    low, high = float(values.min()), float(values.max())
    if (output in ("probabilities", "log_probabilities") and found != output) or (
        output == "binary_probability" and not (low >= 0 and high <= 1)
    ):
        raise ValueError(
            f"{role}.output is {output}, but the {role}'s answers for random images are not: they "
            f"lie between {low:.3g} and {high:.3g}; set {role}.output to what they are"
        )


_NO_LOGITS = {
    "probabilities": (
        "the {role} returns probabilities (each row lies in [0, 1] and sums to 1), expected "
        "logits: set {role}.output to probabilities, or take the softmax out of its forward"
    ),
    "log_probabilities": (
        "the {role} returns log-probabilities (the exponentials of each row sum to 1), expected "
        "logits: set {role}.output to log_probabilities, or take the log-softmax out of its forward"
    ),
    "sigmoid": (
        "the {role} returns values that all lie in [0, 1] and do not sum to 1, as a sigmoid for "
        "each class does, expected logits. Where an image has one class, take the sigmoid out of "
        "its forward. A multi-label classifier is not supported: its answers are no distribution "
        "over classes"
    ),
}


def _pixels(network: nn.Module, image_shape: Sequence[int], images: int) -> Tensor:
    like = next(network.parameters(), torch.zeros(()))
    noise = torch.randn(images, *image_shape, generator=torch.Generator().manual_seed(0))
    return noise.to(like.device, like.dtype)


def _check_tensors(network: nn.Module, role: str) -> None:
    """Weights and buffers are finite tensors, each of a shape that is known."""
    if any(map(is_lazy, (*network.parameters(), *network.buffers()))):
        raise ValueError(
            f"the {role} has lazy layers, whose shapes are not known yet: call it once on a batch "
            "of images before it is given here"
        )
    state = network.state_dict()
    strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        raise ValueError(
            f"the {role}'s state holds more than tensors ({', '.join(strange[:3])}), which are "
            "all that is stored and sent: take get_extra_state out of it"
        )
    bad = [name for name, tensor in state.items() if not _finite(tensor)]
    if bad:
        raise ValueError(
            f"the {role}'s weights are not finite ({', '.join(bad[:3])}): the file is damaged "
            "or its training diverged; use other weights"
        )


@contextmanager
def _mode(network: nn.Module, *, training: bool) -> Iterator[None]:
    """In train or eval mode; each module's own mode, all buffers and draws are back afterwards."""
    modes = {module: module.training for module in network.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers() if not is_lazy(buffer)]
    devices = {p.device for p in network.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        network.train(training)
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)


def _gradient(logits: Tensor, inputs: Sequence[Tensor]) -> list[Any]:
    """Of the logits' sum towards each input; None where there is none."""
    if not logits.requires_grad or not inputs:
        return [None] * len(inputs)
    return list(torch.autograd.grad(logits.sum(), inputs, allow_unused=True))


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
