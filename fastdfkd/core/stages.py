"""The stages of two networks: which of their maps can be compared, and how they are taken.

A stage is a spatial size that both networks have between the image and the logits. Its map is the
last one of that size that a module of the network returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fastdfkd.core.answers import logits_in
from fastdfkd.core.task import Task

Size = tuple[int, int]
"""Height and width of maps."""


@dataclass(frozen=True)
class MapSource:
    """Where a network's map of one size comes from."""

    module: str
    """Name of the module that returns it; "" is the network itself."""
    channels: int


@dataclass(frozen=True)
class Stage:
    """A size that both networks have, with its maps."""

    size: Size
    teacher: MapSource
    student: MapSource

    @property
    def name(self) -> str:
        """Such as `8x8`: height and width."""
        return size_name(self.size)


@dataclass(frozen=True)
class Stages:
    """The stages of two networks, largest first, and the sizes that only one of them has."""

    common: tuple[Stage, ...]
    teacher_only: tuple[Size, ...]
    student_only: tuple[Size, ...]

    @property
    def left_out(self) -> str:
        """Which sizes are not compared, as text; "" if all are."""
        sides = (("the teacher", self.teacher_only), ("the student", self.student_only))
        alone = [f"{_names(sizes)} (only {whose})" for whose, sizes in sides if sizes]
        return f"not compared: {', '.join(alone)}" if alone else ""


def stages_of(task: Task, key: str, *, with_logits: bool = False) -> Stages:
    """The stages of the task's two networks, each run on one image.

    Args:
        task: modes and weights of its networks are not changed.
        key: of the recipe, for the message of an error.
        with_logits: whether maps of logits are a stage, where networks answer with maps.

    Raises:
        ValueError: the networks have no common stage.
    """
    axes = 0 if with_logits else task.kind.spatial_axes
    teacher = maps_of(task.teacher, task.image_shape, logits_axes=axes)
    student = maps_of(task.student, task.student_shape, logits_axes=axes)
    common = sorted(teacher.keys() & student.keys(), reverse=True)
    alone = (sorted(mine.keys() - set(common), reverse=True) for mine in (teacher, student))
    if not common:
        raise ValueError(
            f"{key} is above 0, but teacher and student have no maps of the same height and width "
            f"(teacher: {_names(teacher)}; student: {_names(student)}): set it to 0, or use a "
            "student whose stages have the teacher's sizes"
        )
    found = tuple(Stage(size, teacher[size], student[size]) for size in common)
    return Stages(found, *map(tuple, alone))


def maps_of(
    network: nn.Module, image_shape: Sequence[int], *, logits_axes: int = 0
) -> dict[Size, MapSource]:
    """By size above (1, 1), the last map of it that a module returns.

    Args:
        network: run on one image in eval mode; its modes are restored.
        image_shape: (C, H, W).
        logits_axes: axes of the logits after the classes. If 2, maps of their shape are left out.
    """
    returned: list[tuple[str, Tensor]] = []

    def finder(name: str) -> Any:
        def find(_module: nn.Module, _inputs: Any, result: Any) -> None:
            if isinstance(result, Tensor) and result.ndim == 4 and max(result.shape[2:]) > 1:
                returned.append((name, result))

        return find

    like = next(network.parameters(), torch.zeros(()))
    image = torch.zeros(1, *image_shape, device=like.device, dtype=like.dtype)
    modes = {module: module.training for module in network.modules()}
    hooks = [each.register_forward_hook(finder(name)) for name, each in network.named_modules()]
    try:
        with torch.no_grad():
            answer = network.eval()(image)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    logits = logits_in(answer, spatial_axes=logits_axes).shape if logits_axes else None
    return {
        (each.shape[2], each.shape[3]): MapSource(name, each.shape[1])
        for name, each in returned
        if each.shape != logits
    }


@dataclass(frozen=True)
class Wanted:
    """A map that is to be taken from a forward pass."""

    source: MapSource
    size: Size
    kept: Callable[[Tensor], Tensor]
    """What is kept of maps (B, C, h, w). It gets a copy: networks may change theirs in place."""


@contextmanager
def watching(
    network: nn.Module, wanted: Sequence[Wanted], count: int | None = None
) -> Iterator[list[Tensor]]:
    """A context in which one forward pass fills the yielded list with what is kept, in order.

    Gradients flow as the network has them.

    Args:
        network: in which the modules are.
        wanted: the maps.
        count: maps of the first so many images are taken; None: of all.
    """
    found: dict[int, Tensor] = {}
    filled: list[Tensor] = []
    modules = dict(network.named_modules())

    def keeper(place: int, each: Wanted) -> Any:
        def keep(_module: nn.Module, _inputs: Any, result: Any) -> None:
            if isinstance(result, Tensor) and tuple(result.shape[2:]) == each.size:
                found[place] = each.kept((result if count is None else result[:count]).clone())

        return keep

    hooks = [
        modules[each.source.module].register_forward_hook(keeper(place, each))
        for place, each in enumerate(wanted)
    ]
    try:
        yield filled
        missing = [each for place, each in enumerate(wanted) if place not in found]
        if missing:
            raise RuntimeError(
                f"module {missing[0].source.module!r} returned no map of "
                f"{size_name(missing[0].size)} in this pass, as it did when the networks were "
                "tried: set distillation.attention and distillation.stage_maps to 0 for a network "
                "that does not always return its maps"
            )
        filled += [found[place] for place in range(len(wanted))]
    finally:
        for hook in hooks:
            hook.remove()


def size_name(size: Size) -> str:
    """Height x width, such as `8x4`."""
    return "x".join(map(str, size))


def _names(sizes: Sequence[Size] | Mapping[Size, MapSource]) -> str:
    return ", ".join(map(size_name, sorted(sizes, reverse=True))) or "none"
