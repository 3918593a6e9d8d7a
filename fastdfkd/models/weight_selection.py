"""Initial weights of a student that are a selection of its teacher's.

Weight selection (Xu et al., "Initializing Models with Larger Ones", arXiv 2311.18823): a tensor of
the student gets evenly spaced elements, in every dimension, of the teacher's tensor of the same
name. The same spacing everywhere keeps channels of successive layers together. Layers are selected
by name, so that a stage of fewer blocks gets the teacher's first ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class SelectedWeights:
    """What a student got of its teacher's weights."""

    selected: int
    """Number of tensors."""
    drawn: tuple[str, ...]
    """Names of the tensors that keep their random values: the teacher has none of that name, or a
    smaller one, or one of another number of dimensions."""

    @property
    def line(self) -> str:
        """The same as one line of text."""
        rest = f"; random: {', '.join(self.drawn[:3])}" if self.drawn else ""
        more = f" and {len(self.drawn) - 3} more" if len(self.drawn) > 3 else ""
        return f"{self.selected} tensors start as a selection of the teacher's{rest}{more}"


def select_weights(student: nn.Module, teacher: nn.Module) -> SelectedWeights:
    """Copy evenly spaced elements of the teacher's parameters and buffers into the student.

    Counters (integers) keep their values.

    Args:
        student: changed in place.
        teacher: a larger network with modules of the same names.

    Raises:
        ValueError: no parameter of the student fits one of the teacher.
    """
    found = teacher.state_dict()
    values = {
        name: value for name, value in student.state_dict().items() if value.is_floating_point()
    }
    fitting = {
        name for name, value in values.items() if name in found and _fits(value, found[name])
    }
    if not fitting & {name for name, _ in student.named_parameters()}:
        raise ValueError(
            "student.start_from is teacher, but no parameter of the student has the name of a "
            f"parameter of the teacher that is as large (student: {_names(values)}; teacher: "
            f"{_names(found)}): use a student of the teacher's architecture that is thinner or "
            "has fewer blocks, or remove the key"
        )
    for name in fitting:  # a state dict's tensors are the network's own
        values[name].copy_(evenly_spaced(found[name].detach(), values[name].shape))
    return SelectedWeights(len(fitting), tuple(name for name in values if name not in fitting))


def evenly_spaced(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Elements of `values` at `shape[d]` evenly spaced places of each dimension d.

    First and last place are among them; of a dimension that becomes 1, the first alone.

    Args:
        values: as many dimensions as `shape`, each at least as large.
        shape: of the result.
    """
    for dimension, size in enumerate(shape):
        if values.shape[dimension] != size:
            places = torch.linspace(0, values.shape[dimension] - 1, size, device=values.device)
            values = values.index_select(dimension, places.round().long())
    return values


def _fits(student: Tensor, teacher: Tensor) -> bool:
    return student.ndim == teacher.ndim and all(
        ours <= theirs for ours, theirs in zip(student.shape, teacher.shape, strict=True)
    )


def _names(state: dict[str, Tensor]) -> str:
    names = list(state)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
