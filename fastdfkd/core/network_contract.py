"""What teacher and student must be, checked before anything is made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fastdfkd.core.bn_statistics import BatchNormStatistics, batch_norm_layers


def check_teacher(
    teacher: nn.Module, image_shape: Sequence[int], num_classes: int, bn: float = 0.0
) -> None:
    """Refuse a teacher that the method cannot learn from. Leaves the model as it was.

    Args:
        teacher: maps (B, C, H, W) float images to (B, num_classes) logits.
        image_shape: (C, H, W).
        num_classes: classes of the data set.
        bn: weight of the BatchNorm-statistics loss.

    Raises:
        ValueError: no BatchNorm statistics while `bn` > 0, another output than logits of
            `num_classes`, values that are not finite, or logits without a gradient for the images.
            The message says what to do.
    """
    if bn > 0 and not batch_norm_layers(teacher):
        raise ValueError(
            f"synthesis.bn is {bn}, but the teacher {type(teacher).__name__} has no BatchNorm "
            "layer with running statistics, so that loss would be zero: set synthesis.bn to 0, "
            "or use a teacher with BatchNorm (track_running_stats=True)"
        )
    statistics = BatchNormStatistics(teacher)
    with _evaluating(teacher), statistics.watching():
        pixels, logits = _answer(teacher, "teacher", image_shape, num_classes)
        seen, reached = statistics.newest, _gradient(logits, [pixels])
    if bn > 0 and not seen:
        raise ValueError(
            f"synthesis.bn is {bn}, but no image passes through a BatchNorm layer of the teacher "
            "in evaluation mode: set synthesis.bn to 0, or use a teacher whose BatchNorm layers "
            "are on the way to its logits"
        )
    if reached[0] is None:
        raise ValueError(
            "no gradient comes from the teacher's logits back to its images, so none can be "
            "synthesised: take torch.no_grad() and detach() out of its forward"
        )


def check_student(student: nn.Module, image_shape: Sequence[int], num_classes: int) -> None:
    """Refuse a student that cannot be trained. Leaves the model as it was.

    Args:
        student: maps (B, C, H, W) float images to (B, num_classes) logits.
        image_shape: (C, H, W).
        num_classes: classes of the data set.

    Raises:
        ValueError: another output than logits of `num_classes`, values that are not finite, or
            logits without a gradient for any weight. The message says what to do.
    """
    weights = [parameter for parameter in student.parameters() if parameter.requires_grad]
    with _evaluating(student):
        _, logits = _answer(student, "student", image_shape, num_classes)
        reached = _gradient(logits, weights)
    if all(gradient is None for gradient in reached):
        raise ValueError(
            "no gradient comes from the student's logits to any of its weights, so it cannot "
            "learn: give it parameters that require gradients, and take torch.no_grad() and "
            "detach() out of its forward"
        )


def _answer(
    network: nn.Module, role: str, image_shape: Sequence[int], num_classes: int
) -> tuple[Tensor, Tensor]:
    """Random pixels that require gradients, and the network's logits for them as two images."""
    _check_tensors(network, role)
    like = next(network.parameters(), torch.zeros(()))
    noise = torch.randn(2, *image_shape, generator=torch.Generator().manual_seed(0))
    pixels = noise.to(like.device, like.dtype).requires_grad_()
    try:
        with torch.enable_grad():
            logits = network(pixels * 1)  # no leaf, for forwards that begin in place
    except Exception as error:  # whatever a stranger's forward raises
        raise ValueError(
            f"the {role} cannot read images of shape {tuple(image_shape)}: {error}"
        ) from error
    if not isinstance(logits, Tensor):
        raise ValueError(
            f"the {role} returns {type(logits).__name__}, expected logits as one tensor: wrap it "
            "in a module whose forward returns the logits alone"
        )
    if logits.shape != (2, num_classes):
        raise ValueError(
            f"the {role} returns {tuple(logits.shape)} for 2 images, expected (2, {num_classes}): "
            f"the data set has {num_classes} classes; give the {role} that many outputs or "
            "change data.name"
        )
    if not torch.isfinite(logits).all():
        raise ValueError(
            f"the {role} returns NaN or infinity for random images: its weights or BatchNorm "
            "statistics are damaged; check them on real images, or use other weights"
        )
    return pixels, logits


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
def _evaluating(network: nn.Module) -> Iterator[None]:
    """In evaluation mode; each module's own mode and all buffers are back after the block."""
    training = {module: module.training for module in network.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers() if not is_lazy(buffer)]
    network.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
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
