"""What a teacher offers to synthesis, found by one forward pass in eval mode.

`settled` is the one place that decides what `synthesis.bn: auto` means for a teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.last_layer import CONVOLUTIONS, LINEAR, LastLayer

if TYPE_CHECKING:
    from fastdfkd.recipe import SynthesisSection

    Section = TypeVar("Section", bound=SynthesisSection)

_ATEN = torch.ops.aten
_ATTENTION: frozenset[Any] = frozenset(
    {
        *(F.scaled_dot_product_attention, F.multi_head_attention_forward),
        _ATEN.scaled_dot_product_attention.default,
    }
)
_SOFTMAX: frozenset[Any] = frozenset(
    {F.softmax, torch.softmax, Tensor.softmax, _ATEN.softmax.int, _ATEN._softmax.default}
)
_ATTENTION_AXES = 3
"""Softmax over maps of at least so many axes is attention; that of logits has two."""


@dataclass(frozen=True, kw_only=True)
class TeacherTraits:
    """What a teacher offers to synthesis."""

    statistics: tuple[str, ...]
    """Names of the layers whose running statistics a forward pass uses."""
    features: bool
    """Whether the input of the last layer can be seen."""
    patch: int | None
    """Side of the patches in pixels, if the teacher is a transformer on patches."""

    @classmethod
    def of(cls, teacher: nn.Module, image_shape: Sequence[int]) -> TeacherTraits:
        """Run the teacher on one image.

        Args:
            teacher: in eval mode; it is not modified.
            image_shape: (C, H, W).
        """
        like = next(teacher.parameters(), torch.zeros(()))
        image = torch.zeros(1, *image_shape, device=like.device, dtype=like.dtype)
        statistics, last, attention = BatchNormStatistics(teacher), LastLayer(), _Attention()
        with torch.no_grad(), statistics.watching(), last, attention:
            teacher(image)
            seen = tuple(statistics.newest)
        return cls(
            statistics=seen,
            features=last.features is not None,
            patch=attention.first_patch if attention.seen else None,
        )


class _Attention(TorchFunctionMode):
    """Observes whether a network has attention, and whether its first layer cuts patches."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False
        self.first_patch: int | None = None
        self._first = True

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _ATTENTION or (func in _SOFTMAX and result.ndim >= _ATTENTION_AXES):
            self.seen = True
        if self._first and (func in LINEAR or func in CONVOLUTIONS):
            self._first = False
            self.first_patch = _patch(args[0], args[1], result) if len(args) > 1 else None
        return result


def _patch(images: Tensor, weight: Tensor, maps: Tensor) -> int | None:
    """The side of the patches, if a layer maps each one of (B, C, H, W) to a position."""
    if images.ndim != 4 or maps.ndim != 4:
        return None
    side = int(weight.shape[-1])
    cut = tuple(length // side for length in images.shape[2:])
    return side if side > 1 and tuple(maps.shape[2:]) == cut else None


def settled(
    section: Section, teacher: nn.Module, image_shape: Sequence[int]
) -> tuple[Section, str]:
    """The section with a number for `bn: auto`, and a note that says which; "" if none was needed.

    Args:
        section: of any method.
        teacher: in eval mode; it is not modified.
        image_shape: (C, H, W).
    """
    if not section.is_open:
        return section, ""
    traits = TeacherTraits.of(teacher, image_shape)
    chosen = section.settled(statistics=bool(traits.statistics), patch=traits.patch)
    if not traits.statistics and not traits.features:
        chosen = chosen.model_copy(update={"activation": 0.0})
    return chosen, _note(chosen, traits)


def _note(section: SynthesisSection, traits: TeacherTraits) -> str:
    if traits.statistics:
        return (
            f"synthesis.bn auto: {section.bn_weight:g}, for the running statistics of "
            f"{len(traits.statistics)} of the teacher's layers"
        )
    priors = ", ".join(f"{name} {weight:g}" for name, weight in section.priors.items())
    return (
        "synthesis.bn auto: 0, because the teacher has no running statistics that can be "
        f"compared; these priors stand in: {priors}. Expect a weaker student"
    )
