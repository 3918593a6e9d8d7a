"""Checks a teacher or a student before a run uses it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fastdfkd.core.answers import Output, logits_in
from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.output_contract import check_finite, check_shape, check_values, raw_values
from fastdfkd.core.task_kind import TaskKind

IMAGES = 2
"""Images of a test batch in eval mode."""
MOST_TRAINED = 4
"""Images of a test batch in train mode: as many as an update has, but at most this number."""
CONTRAST = 30.0
"""Random images are multiplied by this, so that logits leave [0, 1]."""
_SCRIPTS = torch.jit.ScriptModule
_NO_CLASSES = {
    "multi_label_classification": (
        "a multi-label classifier is not supported, because its outputs are no distribution over "
        "classes"
    ),
    "regression": "a regression is not supported, because there are no classes to distil",
}


def check_teacher(
    teacher: nn.Module,
    image_shape: Sequence[int],
    kind: TaskKind,
    bn: float = 0.0,
    *,
    output: Output = "logits",
) -> None:
    """Raise if images cannot be synthesised from a teacher. Does not modify the model.

    Args:
        teacher: maps (B, C, H, W) float images to outputs of type `output`.
        image_shape: (C, H, W).
        kind: the task, with the number of classes of the data set.
        bn: weight of the BatchNorm-statistics loss.
        output: what its outputs hold.

    Raises:
        ValueError: it has no BatchNorm statistics while `bn` > 0, its outputs are no logits of
            `kind` or not finite, or its logits have no gradient for the images. The message says
            what to do.
    """
    statistics = BatchNormStatistics(teacher)
    _check_purpose(teacher)
    if bn > 0 and not (statistics.layers or statistics.buffers):
        raise ValueError(_no_statistics(teacher, bn))
    _check_tensors(teacher, "teacher")
    with in_mode(teacher, training=False), statistics.watching():
        pixels, logits = _answer(teacher, "teacher", image_shape, kind, output)
        seen, reached = statistics.newest, _gradient(logits, [pixels])
    if bn > 0 and not seen and not statistics.layers:
        raise ValueError(_no_statistics(teacher, bn))
    if bn > 0 and not seen:
        raise ValueError(
            f"synthesis.bn is {bn}, but no image passes through a BatchNorm layer of the teacher "
            "in eval mode: set synthesis.bn to 0 or auto, or use a teacher whose forward uses its "
            "BatchNorm layers"
        )
    with in_mode(teacher, training=False):
        _answer(teacher, "teacher", image_shape, kind, output, images=1)
    check_finite(logits, "teacher", "in eval mode")
    if reached[0] is None:
        raise ValueError(
            "the teacher's logits have no gradient for its images, so no image can be "
            "synthesised: remove torch.no_grad() and detach() from its forward"
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
    """Raise if a student cannot be trained. Does not modify the model.

    The student is run in train mode with a backward pass, as in an update, and in eval mode, as in
    synthesis and evaluation. Its outputs in eval mode may be infinite or NaN: the BatchNorm
    statistics of an untrained network may be far from its data.

    Args:
        student: maps (B, C, H, W) float images to outputs of type `output`.
        image_shape: (C, H, W).
        kind: the task, with the number of classes of the data set.
        output: what its outputs hold.
        batch_size: images per update on one worker.
        role: its name in messages: `student`, or `teacher` for a teacher that is to be trained.

    Raises:
        ValueError: its outputs are no logits of `kind` or not finite, or its logits have no
            gradient for any weight. The message says what to do.
    """
    if _is_frozen(student):
        raise ValueError(
            f"the {role} is a TorchScript module without weights, which cannot be trained: "
            "torch.jit.freeze and torch.jit.optimize_for_inference make constants of them. Give "
            "the module from before that"
        )
    _check_tensors(student, role)
    weights = [parameter for parameter in student.parameters() if parameter.requires_grad]
    with in_mode(student, training=False):
        _answer(student, role, image_shape, kind, output)
    images = max(min(batch_size, MOST_TRAINED), 1)
    with in_mode(student, training=True):
        _, logits = _answer(student, role, image_shape, kind, output, images, "train")
        reached = _gradient(logits, weights)
    check_finite(logits, role, "in train mode")
    if all(gradient is None for gradient in reached):
        raise ValueError(
            f"the {role}'s logits have no gradient for any of its weights, so it cannot be "
            "trained: give it parameters that require gradients, and remove torch.no_grad() and "
            "detach() from its forward"
        )
    if not all(torch.isfinite(gradient).all() for gradient in reached if gradient is not None):
        raise ValueError(
            f"the {role}'s gradients are NaN or infinite for random images in train mode: look "
            "for square roots of zero and divisions by zero in its forward"
        )
    _check_values(student, role, image_shape, kind, output)


def _check_purpose(teacher: nn.Module) -> None:
    """Raise if the teacher says that it is no classifier of one class (`transformers`)."""
    purpose = getattr(getattr(teacher, "config", None), "problem_type", None)
    if purpose in _NO_CLASSES:
        raise ValueError(
            f"the teacher's config.problem_type is {purpose}, and {_NO_CLASSES[purpose]}: use a "
            "teacher that gives an image one class"
        )


def _is_frozen(network: nn.Module) -> bool:
    return isinstance(network, _SCRIPTS) and not any(True for _ in network.parameters())


def _no_statistics(teacher: nn.Module, bn: float) -> str:
    name = type(teacher).__name__
    if any(isinstance(module, _SCRIPTS) for module in teacher.modules()):
        return (
            f"synthesis.bn is {bn}, but the teacher is a TorchScript module ({name}) without a "
            "BatchNorm layer with running statistics: torch.jit.freeze and "
            "torch.jit.optimize_for_inference fold them into convolutions. Save the module before "
            "that, give the Python network that it was made from, or set synthesis.bn to 0 or auto"
        )
    return (
        f"synthesis.bn is {bn}, but the teacher {name} has no BatchNorm layer with running "
        "statistics, so that loss would be zero: set synthesis.bn to 0 or auto, or use a teacher "
        "with BatchNorm (track_running_stats=True; a BatchNorm that was folded into its "
        "convolution has no statistics left)"
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
    """Random images that require gradients, and the network's logits for them."""
    pixels = _pixels(network, image_shape, images).requires_grad_()
    try:
        with torch.enable_grad():
            answer = network(pixels * 1)  # not a leaf: a forward may begin in place
    except Exception as error:  # a user's forward may raise anything
        raise ValueError(_unread(error, role, pixels, mode)) from error
    try:
        logits = logits_in(answer, output, kind.spatial_axes)
    except TypeError as error:
        raise ValueError(
            f"the {role} returns {type(answer).__name__} in {mode} mode, expected logits: {error}. "
            "Return a tensor of logits, a tuple whose first entry it is, or a mapping or an object "
            "with `logits`"
        ) from error
    check_shape(logits, role, kind.logits_shape(images, image_shape), output)
    return pixels, logits


def _unread(error: Exception, role: str, pixels: Tensor, mode: str) -> str:
    """Message: a network's forward raised."""
    images, *shape = pixels.shape
    count = "an image" if images == 1 else f"{images} images"
    said = ": ".join(filter(None, (type(error).__name__, str(error))))
    kind = str(pixels.dtype).removeprefix("torch.")
    hint = "; raise distillation.batch_size" if images == 1 and mode == "train" else ""
    return (
        f"the {role} cannot read images of shape {tuple(shape)} ({count} in {mode} mode): {said}. "
        f"It is given normalised {kind} images (B, C, H, W) and has {kind} weights; it must read "
        f"any number of images, whatever it read before{hint}"
    )


def _check_values(
    network: nn.Module, role: str, image_shape: Sequence[int], kind: TaskKind, output: Output
) -> None:
    """Raise if the values of the outputs contradict `output`."""
    noise = _pixels(network, image_shape, 2 * IMAGES)
    noise[IMAGES:] *= CONTRAST
    with in_mode(network, training=False), torch.no_grad():
        try:
            values = raw_values(network(noise), output, kind.spatial_axes)
        except Exception:  # images of high contrast need not work
            return
    check_values(values, role, output)


def _pixels(network: nn.Module, image_shape: Sequence[int], images: int) -> Tensor:
    like = next(network.parameters(), torch.zeros(()))
    noise = torch.randn(images, *image_shape, generator=torch.Generator().manual_seed(0))
    return noise.to(like.device, like.dtype)


def _check_tensors(network: nn.Module, role: str) -> None:
    """Raise unless weights and buffers are finite tensors of known shape."""
    if any(map(is_lazy, (*network.parameters(), *network.buffers()))):
        raise ValueError(
            f"the {role} has lazy layers, whose shapes are not known yet: call it once on a batch "
            "of images first"
        )
    state = network.state_dict()
    strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        raise ValueError(
            f"the {role}'s state holds entries that are no tensors ({', '.join(strange[:3])}), "
            "and only tensors are stored: remove get_extra_state from it"
        )
    bad = [name for name, tensor in state.items() if not _finite(tensor)]
    if bad:
        raise ValueError(
            f"the {role}'s weights are not finite ({', '.join(bad[:3])}): the file is damaged "
            "or its training diverged; use other weights"
        )


@contextmanager
def in_mode(network: nn.Module, *, training: bool) -> Iterator[None]:
    """Set train or eval mode; restore all modes, buffers and random states afterwards."""
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
    """Gradient of the sum of the logits for each input; None if there is none."""
    if not logits.requires_grad or not inputs:
        return [None] * len(inputs)
    return list(torch.autograd.grad(logits.sum(), inputs, allow_unused=True))


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
