"""Extracts logits from whatever a network returns.

Networks return a tensor, a tuple whose first entry is the tensor, a mapping, or an object with
`logits`. `Output` declares what the tensor holds, because its values alone do not prove it.
`looks_like` detects tensors that are probably not logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from fastdfkd.recipe import TeacherSection

OutputKind = Literal[
    "logits", "probabilities", "log_probabilities", "binary_logit", "binary_probability"
]
"""What the tensor that a network returns holds, per image or pixel.

logits              (K,), before the softmax
probabilities       (K,), after the softmax
log_probabilities   (K,), after the log-softmax
binary_logit        one number, before the sigmoid, for the second of two classes
binary_probability  the same number, after the sigmoid
"""
BINARY = ("binary_logit", "binary_probability")


@dataclass(frozen=True)
class SlicedOutput:
    """An output of which the entries from `start` to before `stop` are the classes."""

    kind: OutputKind
    start: int
    stop: int


Output = OutputKind | SlicedOutput
"""What the tensor holds, and which of its entries are the classes if not all are."""


def output_of(section: TeacherSection) -> Output:
    """The output that a teacher's section declares."""
    if section.output_slice is None:
        return section.output
    return SlicedOutput(section.output, *section.output_slice)


def kind_of(output: Output) -> OutputKind:
    """What the tensor holds."""
    return output.kind if isinstance(output, SlicedOutput) else output


_LEAST = 1e-30
"""Probabilities are clamped to at least this, so that their logarithm is finite in float32."""


def logits_in(answer: object, output: Output = "logits", spatial_axes: int = 0) -> Tensor:
    """The logits (B, K, *space) in a network's output, in the floating type of the output.

    Args:
        answer: a tensor, bare, as the first entry of a tuple or list, under `logits` of an object
            or a mapping, under `out` of a mapping (torchvision's segmentation networks), or as the
            only entry of a mapping. Its shape is (B, K, *space), (K, *space) for one image or, of
            a binary output, (B, *space) or (B, 1, *space). Further axes of size 1 may follow.
        output: what the tensor holds. Anything but `logits` is converted to logits whose softmax
            is the network's distribution, of a sliced output that over its classes alone.
        spatial_axes: number of axes in `space`, 0 for (B, K) (`TaskKind.spatial_axes`).

    Raises:
        TypeError: no tensor is found. The message names the type that was returned.
    """
    if isinstance(output, SlicedOutput):
        return logits_in(answer, output.kind, spatial_axes)[:, output.start : output.stop]
    tensor = _tensor_in(answer)
    if output in BINARY:
        tensor = tensor.reshape(-1, 1, *tensor.shape[tensor.ndim - spatial_axes :])
    elif tensor.ndim == 1 + spatial_axes:  # the network squeezed a batch of one image
        tensor = tensor[None]
    while tensor.ndim > 2 + spatial_axes and tensor.shape[-1] == 1:
        tensor = tensor.squeeze(-1)
    match output:
        case "probabilities":
            return _log(tensor)
        case "binary_logit":
            return torch.cat([torch.zeros_like(tensor), tensor], 1)
        case "binary_probability":
            return _log(torch.cat([1 - tensor, tensor], 1))
        case _:  # log-probabilities are logits already: their softmax is the distribution
            return tensor


def _log(probabilities: Tensor) -> Tensor:
    exact = probabilities if probabilities.dtype is torch.float64 else probabilities.float()
    return exact.clamp_min(_LEAST).log()


def _tensor_in(answer: object) -> Tensor:
    found: Any = answer
    while not isinstance(found, Tensor):
        if isinstance(found, Mapping):
            found = _entry(found)
        elif hasattr(found, "logits"):
            found = found.logits
        elif isinstance(found, Sequence) and not isinstance(found, str) and found:
            found = found[0]
        else:
            raise TypeError(f"found no tensor of logits in a {type(answer).__name__}")
    return found


def _entry(mapping: Mapping[Any, object]) -> object:
    """What a mapping holds under `logits` or `out`, or its only entry."""
    for name in ("logits", "out"):
        if name in mapping:
            return mapping[name]
    if len(mapping) == 1:
        return next(iter(mapping.values()))
    keys = ", ".join(map(str, list(mapping)[:5])) or "none"
    raise TypeError(
        f"found no entry `logits` in a {type(mapping).__name__} of {len(mapping)} (keys: {keys})"
    )


def looks_like(answers: Sequence[Tensor]) -> str | None:
    """What tensors (B, K, *space) probably hold instead of logits, judged by their values.

    Args:
        answers: outputs for images of very different contrast. Logits would leave [0, 1] for some.

    Returns:
        `probabilities`, `log_probabilities`, `sigmoid`, or None if they may be logits.
    """
    rows = torch.cat([answer.detach().double().movedim(1, -1).flatten(0, -2) for answer in answers])
    within = bool((rows >= 0).all() and (rows <= 1).all())
    if within and _all_one(rows.sum(1)):
        return "probabilities"
    if bool((rows <= 0).all()) and _all_one(rows.exp().sum(1)):
        return "log_probabilities"
    return "sigmoid" if within and rows.max() - rows.min() > 1e-3 else None


def _all_one(sums: Tensor) -> bool:
    return bool((sums - 1).abs().max() < 1e-3)
