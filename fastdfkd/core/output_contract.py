"""Checks what a network returned: the shape of its logits and the values of its outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastdfkd.core.answers import (
    BINARY,
    Output,
    OutputKind,
    SlicedOutput,
    kind_of,
    logits_in,
    looks_like,
)

_NO_LOGITS = {
    "probabilities": (
        "the {role} returns probabilities (each row lies in [0, 1] and sums to 1), expected "
        "logits: set {role}.output to probabilities, or remove the softmax from its forward"
    ),
    "log_probabilities": (
        "the {role} returns log-probabilities (the exponentials of each row sum to 1), expected "
        "logits: set {role}.output to log_probabilities, or remove the log-softmax from its forward"
    ),
    "sigmoid": (
        "the {role} returns values that all lie in [0, 1] and do not sum to 1, as a sigmoid for "
        "each class does, expected logits. If an image has one class, remove the sigmoid from "
        "its forward. A multi-label classifier is not supported: its outputs are no distribution "
        "over classes"
    ),
}


def check_shape(logits: Tensor, role: str, expected: tuple[int, ...], output: Output) -> None:
    """Raise unless the logits of a batch have the shape that the data requires.

    Args:
        logits: of the network.
        role: its name in messages.
        expected: (B, K, *space).
        output: what the network returns.

    Raises:
        ValueError: they have another shape or are whole numbers. The message says what to do.
    """
    if not logits.is_floating_point():
        raise ValueError(
            f"the {role} returns {str(logits.dtype).removeprefix('torch.')} numbers, expected "
            "floating-point logits: return the scores whose largest is the class, before the "
            "argmax or the comparison"
        )
    if logits.shape != expected:
        raise ValueError(_wrong_shape(logits, role, expected, output))


def _wrong_shape(logits: Tensor, role: str, expected: tuple[int, ...], output: Output) -> str:
    images, num_classes, *space = expected
    came = f"the {role} returns {tuple(logits.shape)} for {images} images"
    if output in BINARY:
        return (
            f"{came} as {role}.output: {output}, which means one number per label and two "
            f"classes; the data has {num_classes} classes"
        )
    if isinstance(output, SlicedOutput):
        return (
            f"{came} after {role}.output_slice [{output.start}, {output.stop}], expected "
            f"{expected}: the data has {num_classes} classes; set output_slice so that stop - "
            "start is that number and stop is at most the number of outputs"
        )
    wanted = f"expected {expected}: the data has {num_classes} classes"
    if space:
        return f"{came}, {wanted} and one label per pixel"
    if logits.ndim == 2 and (logits.shape[1] == 1 or logits.shape == (1, images)):
        return (
            f"{came}, {wanted}. One number per image is supported for two classes: set "
            f"{role}.output to binary_logit (before the sigmoid) or binary_probability (after it). "
            "A regression is not supported: there are no classes to distil"
        )
    if logits.ndim > 2:
        return f"{came}, {wanted} and one label per image, so maps of logits do not fit"
    if role == "teacher" and logits.ndim == len(expected) and logits.shape[1] > num_classes:
        return (
            f"{came}, {wanted}. If some outputs are no class, such as a background, set "
            f"teacher.output_slice to [start, stop]: [1, {num_classes + 1}] leaves out the first. "
            "Otherwise name the data that it is for"
        )
    return f"{came}, {wanted}; give the {role} that many outputs, or name the data that it is for"


def check_finite(logits: Tensor, role: str, mode: str) -> None:
    """Raise if logits are NaN or infinite.

    Args:
        logits: of any shape.
        role: the network's name in messages.
        mode: `in eval mode` or `in train mode`.

    Raises:
        ValueError: some are.
    """
    if not torch.isfinite(logits).all():
        raise ValueError(
            f"the {role} returns NaN or infinity for random images {mode}: its weights or "
            "BatchNorm statistics are damaged; check them on real images, or use other weights"
        )


def raw_values(answer: Any, output: Output, spatial_axes: int) -> Tensor:
    """The values that a network returned, before they are converted to logits.

    Args:
        answer: what the network returned.
        output: what it is said to hold.
        spatial_axes: axes of the logits after the classes.

    Returns:
        (B, K, *space), or (B, 1, *space) if there is one number per label.
    """
    if kind_of(output) in BINARY:
        return logits_in(answer, "binary_logit", spatial_axes)[:, 1:]
    return logits_in(answer, "logits", spatial_axes)


def check_values(values: Tensor, role: str, output: Output) -> None:
    """Raise if values contradict what the network is said to return.

    Args:
        values: result of `raw_values` for images of low and of high contrast.
        role: the network's name in messages.
        output: what it is said to return.

    Raises:
        ValueError: they are probabilities and are said to be logits, or the other way round.
    """
    held: OutputKind = kind_of(output)
    found = looks_like([values])
    if held == "logits" and found is not None:
        raise ValueError(_NO_LOGITS[found].format(role=role))
    low, high = float(values.min()), float(values.max())
    if (held in ("probabilities", "log_probabilities") and found != held) or (
        held == "binary_probability" and not (low >= 0 and high <= 1)
    ):
        raise ValueError(
            f"{role}.output is {held}, but the {role}'s outputs for random images are not: they "
            f"lie between {low:.3g} and {high:.3g}; set {role}.output to what they are"
        )
