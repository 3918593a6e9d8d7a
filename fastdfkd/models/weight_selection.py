"""Initial weights of a student that are a selection of its teacher's.

Weight selection (Xu et al., "Initializing Models with Larger Ones", arXiv 2311.18823): a tensor of
the student gets evenly spaced elements, in every dimension, of the teacher's tensor of the same
place. The same spacing everywhere keeps channels of successive layers together. Places are equal if
their names are. A list of fewer blocks than the teacher's (`features.0`, `features.1`, ...) is
aligned with it instead: each block gets one of the same layers, in order, as close in size as
possible, and the first of equal ones. So a stage of fewer blocks gets the teacher's first ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastdfkd.core.even_spacing import evenly_spaced


@dataclass(frozen=True)
class SelectedWeights:
    """What a student got of its teacher's weights."""

    selected: int
    """Number of tensors."""
    drawn: tuple[str, ...]
    """Names of the tensors that keep their random values: the teacher has none at that place, or a
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
    found, places = teacher.state_dict(), dict(same_places(student, teacher))
    values = {
        name: value for name, value in student.state_dict().items() if value.is_floating_point()
    }
    fitting = {
        name: found[places[name]]
        for name, value in values.items()
        if places.get(name) in found and _fits(value, found[places[name]])
    }
    if not fitting.keys() & {name for name, _ in student.named_parameters()}:
        raise ValueError(
            "student.start_from is teacher, but no parameter of the student has the name of a "
            f"parameter of the teacher that is as large (student: {_names(values)}; teacher: "
            f"{_names(found)}): use a student of the teacher's architecture that is thinner or "
            "has fewer blocks, or remove the key"
        )
    for name, whole in fitting.items():  # a state dict's tensors are the network's own
        values[name].copy_(evenly_spaced(whole.detach(), values[name].shape))
    return SelectedWeights(len(fitting), tuple(name for name in values if name not in fitting))


def same_places(student: nn.Module, teacher: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of the student's tensors, each with the name of the teacher's at the same place.

    Tensors of modules that the teacher lacks are left out.
    """
    modules = dict(student.named_modules(remove_duplicate=False))
    for name, other in same_modules(student, teacher):
        module = modules[name]
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        yield from ((_inside(name, tensor), _inside(other, tensor)) for tensor, _ in own)


def same_modules(student: nn.Module, teacher: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of the student's modules, each with the name of the teacher's at the same place.

    Both networks themselves, "", are among them. Modules that the teacher lacks are left out.
    """
    yield "", ""
    mine, theirs = dict(student.named_children()), dict(teacher.named_children())
    for name, other in _partners(mine, theirs).items():
        for inside, place in same_modules(mine[name], theirs[other]):
            yield _inside(name, inside), _inside(other, place)


def evenly_spaced_modules(student: nn.Module, teacher: nn.Module) -> Iterator[tuple[str, str]]:
    """Those of `same_modules` whose channels are evenly spaced ones of the teacher's.

    A thinned network that concatenates maps keeps evenly spaced channels of each part, which are
    other ones than those of the whole. Of a module without tensors, such as a ReLU, it is only
    known if it holds for the whole network.

    Args:
        student: with its initial weights.
        teacher: the network that they were selected from.
    """
    mine, theirs = student.state_dict(), teacher.state_dict()
    others = {
        name
        for name, place in same_places(student, teacher)
        if mine[name].is_floating_point() and not _selected(mine[name], theirs[place])
    }
    for name, place in same_modules(student, teacher):
        inside = f"{name}." if name else ""
        held = any(each.startswith(inside) for each in mine)
        if not any(each.startswith(inside) for each in others) and (held or not others):
            yield name, place


def _selected(values: Tensor, whole: Tensor) -> bool:
    return _fits(values, whole) and bool(torch.equal(evenly_spaced(whole, values.shape), values))


def _inside(module: str, name: str) -> str:
    """The full name of what is called `name` in a module; each may be ""."""
    return ".".join(filter(None, (module, name)))


def _partners(mine: Mapping[str, nn.Module], theirs: Mapping[str, nn.Module]) -> dict[str, str]:
    """For the student's children, by name, the names of the teacher's that they start from."""
    blocks = [
        {name: state for name, child in children.items() if (state := child.state_dict())}
        for children in (mine, theirs)
    ]
    if all(map(str.isdigit, [*mine, *theirs])) and len(blocks[0]) < len(blocks[1]):
        return _aligned(*blocks)
    return {name: name for name in mine if name in theirs}


_State = Mapping[str, Tensor]


def _aligned(mine: Mapping[str, _State], theirs: Mapping[str, _State]) -> dict[str, str]:
    """The alignment, in order, with the most pairs that fit; of those, with the closest sizes."""
    best: list[list[tuple[float, dict[str, str]]]]
    best = [[(0.0, {}) for _ in range(len(theirs) + 1)] for _ in range(len(mine) + 1)]
    for i, (name, block) in enumerate(mine.items(), 1):
        for j, (other, whole) in enumerate(theirs.items(), 1):
            score, pairs = best[i - 1][j - 1]
            options = [best[i][j - 1], best[i - 1][j]]  # on a tie the first: earlier blocks
            if (close := _closeness(block, whole)) is not None:
                options.append((score + 1 + close / (len(mine) + 1), {**pairs, name: other}))
            best[i][j] = max(options, key=lambda option: option[0])
    return best[-1][-1][1]


def _closeness(block: _State, whole: _State) -> float | None:
    """Elements of a block as a share of another's, in (0, 1]; None: it cannot start from it."""
    fits = block.keys() == whole.keys() and all(_fits(block[name], whole[name]) for name in block)
    if not fits:
        return None
    sizes = (sum(tensor.numel() for tensor in state.values()) for state in (block, whole))
    return next(sizes) / next(sizes)


def _fits(student: Tensor, teacher: Tensor) -> bool:
    return student.ndim == teacher.ndim and all(
        ours <= theirs for ours, theirs in zip(student.shape, teacher.shape, strict=True)
    )


def _names(state: dict[str, Tensor]) -> str:
    names = list(state)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
