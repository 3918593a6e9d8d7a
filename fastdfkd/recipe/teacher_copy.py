"""`student.model: teacher`: the student's section of a network of the teacher's architecture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_NETWORK = ("model", "arguments", "positional", "output")
_WEIGHTS = frozenset({"weights", "weights_backbone", "pretrained", "checkpoint_path"})
"""Arguments by which a builder of torchvision or timm loads weights."""


def as_teacher(values: Any) -> Any:
    """A recipe's values with the teacher's network in place of `student.model: teacher`.

    Arguments that load weights are left out: `student.start_from` says where the weights are from.
    The widths are multiplied. Values of another form than a recipe's are returned as they are.
    """
    if not isinstance(values, Mapping):
        return values
    teacher, student = values.get("teacher"), values.get("student")
    if not isinstance(teacher, Mapping) or not isinstance(student, Mapping):
        return values
    if student.get("model") != "teacher" or "model" not in teacher:
        return values
    network = {key: teacher[key] for key in _NETWORK if key in teacher}
    if isinstance(arguments := network.get("arguments"), Mapping):
        network["arguments"] = {k: v for k, v in arguments.items() if k not in _WEIGHTS}
    own = {key: value for key, value in student.items() if key != "model"}
    widths = [_number(section.get("width", 1.0)) for section in (teacher, student)]
    if all(0 < width <= 1 for width in widths):  # else the section refuses it
        own["width"] = math.prod(widths)
    return {**values, "student": {**network, **own}}


def _number(width: Any) -> float:
    """A width as a number, also one in quotes; NaN for what the section will refuse."""
    try:
        return math.nan if isinstance(width, bool) else float(width)
    except (TypeError, ValueError):
        return math.nan
