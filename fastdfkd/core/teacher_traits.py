"""What a teacher offers to synthesis, found by one forward pass in eval mode.

`resolve_auto` is the one place that decides what `synthesis.bn: auto` means for a teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.core import torch_versions
from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.last_layer import CONVOLUTIONS, LINEAR, LastLayer
from fastdfkd.core.observed_calls import ObservedCalls

if TYPE_CHECKING:
    from fastdfkd.recipe import SynthesisSection
    from fastdfkd.recipe.methods.teacher_traits import TeacherTraits

WEAKER = (
    "Expect a weaker student: with GroupNorm instead of BatchNorm in the teacher, 93.8 % accuracy "
    "instead of 98.4 % were measured on digits, and on rendered letters, instead of 96.1 %, "
    "28.4 %, with synthesis.method=shapes 59.0 %, and 84.9 % where the student starts from the "
    "teacher as in the recipe glyphs-gn-best (docs/without-statistics.md)"
)
"""What a teacher without running statistics costs."""

_ATEN = torch.ops.aten
_ATTENTION: frozenset[Any] = frozenset(
    {
        *(F.scaled_dot_product_attention, F.multi_head_attention_forward),
        _ATEN.scaled_dot_product_attention.default,
    }
)
_SOFTMAX: frozenset[Any] = frozenset(
    {
        *(F.softmax, torch.softmax, Tensor.softmax),
        *(_ATEN.softmax.int, torch_versions.operator("_softmax")),
    }
)
_ATTENTION_AXES = 3
"""Softmax over maps of at least so many axes is attention; that of logits has two."""


def traits_of(teacher: nn.Module, image_shape: Sequence[int]) -> TeacherTraits:
    """Run a teacher on one image in eval mode.

    Args:
        teacher: it is not modified.
        image_shape: (C, H, W).
    """
    from fastdfkd.recipe.methods.teacher_traits import TeacherTraits  # needs more than torch

    like = next(teacher.parameters(), torch.zeros(()))
    image = torch.zeros(1, *image_shape, device=like.device, dtype=like.dtype)
    statistics, last, attention = BatchNormStatistics(teacher), LastLayer(), _Attention()
    modes = {module: module.training for module in teacher.modules()}
    try:
        with torch.no_grad(), statistics.watching(), last, attention:
            teacher.eval()(image)
            layers = len(statistics.newest)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return TeacherTraits(
        statistics=layers,
        features=last.features is not None,
        patch=attention.first_patch if attention.seen else None,
    )


class _Attention(ObservedCalls):
    """Observes whether a network has attention, and whether its first layer cuts patches."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False
        self.first_patch: int | None = None
        self._first = True

    def after(self, func: Callable[..., Any], args: tuple[Any, ...], result: Any) -> None:
        """Look for attention, and for patches in the first layer."""
        if func in _ATTENTION or (func in _SOFTMAX and result.ndim >= _ATTENTION_AXES):
            self.seen = True
        if self._first and (func in LINEAR or func in CONVOLUTIONS):
            self._first = False
            self.first_patch = _patch(args[0], args[1], result) if len(args) > 1 else None


def _patch(images: Tensor, weight: Tensor, maps: Tensor) -> int | None:
    """The side of the patches, if a layer maps each one of (B, C, H, W) to a position."""
    if images.ndim != 4 or maps.ndim != 4:
        return None
    side = int(weight.shape[-1])
    cut = tuple(length // side for length in images.shape[2:])
    return side if side > 1 and tuple(maps.shape[2:]) == cut else None


def resolve_auto(
    section: SynthesisSection, teacher: nn.Module, image_shape: Sequence[int]
) -> tuple[SynthesisSection, str]:
    """The section with a value for every `auto`, and a note on them; "" if none was needed.

    Args:
        section: of any method.
        teacher: it is not modified.
        image_shape: (C, H, W).
    """
    if not section.is_open:
        return section, ""
    traits = traits_of(teacher, image_shape)
    chosen = section.settled(traits)
    return chosen, _note(section, chosen, traits)


def _note(open_: SynthesisSection, section: SynthesisSection, traits: TeacherTraits) -> str:
    name, was = section.method_name(), open_.method_name()
    method = f"synthesis.method {was}: {name}. " if name != was else ""
    if traits.statistics:
        layers = "a layer" if traits.statistics == 1 else f"{traits.statistics} layers"
        return (
            f"{method}synthesis.bn auto: {section.bn_weight:g}, for the running statistics of "
            f"{layers} of the teacher"
        )
    if method and not hasattr(section, "bn"):
        return (
            f"{method}The teacher has no running statistics that can be compared, so the images "
            f"are drawn and not optimised; try synthesis.method=fast too. {WEAKER}"
        )
    priors = ", ".join(f"{name} {weight:g}" for name, weight in section.priors.items()) or "none"
    return (
        "synthesis.bn auto: 0, because the teacher has no running statistics that can be "
        f"compared; priors that stand in: {priors}. {WEAKER}"
    )
