"""Finding a network's state among what a checkpoint holds.

People save a state dict alone, or beside an epoch and an optimiser, under `state_dict`, `model`,
`ema` or another name, nested, and with a prefix that DataParallel, torch.compile, Lightning or a
class of their own put before every name. All mappings of a file are looked at, and all prefixes
under which its tensors have the network's names; the one that fits the network is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastdfkd.models.unread_objects import Content, UnreadObject

COUNTER = "num_batches_tracked"
"""Last part of a name that checkpoints of old torch lack, and frozen norms do without."""

_DEEPEST = 6
_OPTIMIZER = {"state", "param_groups"}
_QUANTISED_NAMES = ("_packed_params", "zero_point", "qweight", "qzeros", "weight_scale", "SCB")


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """Tensors of a file that may be the network's state."""

    entry: str
    """Where they are: the keys of the file's mappings, dots between them; empty at the top."""
    prefix: str
    """What is taken off the front of their names, with its dot."""
    tensors: Mapping[str, Tensor]
    """By name, without the prefix."""
    beside: tuple[str, ...] = ()
    """Names under the entry that do not have the prefix."""

    @property
    def label(self) -> str:
        """What `entry` calls it in a recipe."""
        return ".".join(part for part in (self.entry, self.prefix.rstrip(".")) if part)

    def reshaped(self, own: Mapping[str, Tensor]) -> list[str]:
        """Names of the network whose tensors have another shape here."""
        return [k for k in own if k in self.tensors and self.tensors[k].shape != own[k].shape]

    def missing(self, own: Mapping[str, Tensor]) -> list[str]:
        """Names of the network that are not here."""
        return [key for key in own if key not in self.tensors and not is_counter(key)]

    def unexpected(self, own: Mapping[str, Tensor]) -> list[str]:
        """Names here that the network does not have."""
        return [key for key in self.tensors if key not in own and not is_counter(key)]

    def matched(self, own: Mapping[str, Tensor]) -> int:
        """Tensors of the network that are here with their shape."""
        return sum(k in self.tensors and self.tensors[k].shape == own[k].shape for k in own)

    def fits(self, own: Mapping[str, Tensor]) -> bool:
        """Every tensor has its place, and every place its tensor."""
        return not (self.missing(own) or self.unexpected(own) or self.reshaped(own))

    def same(self, other: Candidate) -> bool:
        """Whether another one has the same tensors, bit for bit."""
        mine, its = self.tensors, other.tensors
        return mine.keys() == its.keys() and all(
            mine[key].dtype == its[key].dtype and torch.equal(mine[key], its[key]) for key in mine
        )


def is_counter(name: str) -> bool:
    """Whether it counts a BatchNorm's batches, which no answer depends on."""
    return name.rpartition(".")[2] == COUNTER


def mappings_in(content: Content) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Every mapping of a file that holds tensors by name, with where it is; optimisers left out."""
    yield from _mappings(content, (), set())


def _mappings(
    content: Content, path: tuple[str, ...], above: set[int]
) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    if not isinstance(content, Mapping) or id(content) in above or len(path) > _DEEPEST:
        return
    if is_optimizer(content):
        return
    tensors = {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if tensors:
        yield ".".join(path), tensors
    for key, value in content.items():
        yield from _mappings(value, (*path, str(key)), above | {id(content)})


def is_optimizer(content: Content) -> bool:
    """Whether it is what `optimizer.state_dict()` gives."""
    return isinstance(content, Mapping) and content.keys() >= _OPTIMIZER


def objects_in(content: Content, depth: int = 0) -> list[str]:
    """Classes and functions of the objects that were left unread, each once."""
    if isinstance(content, UnreadObject):
        return [content.named]
    if isinstance(content, type) and issubclass(content, UnreadObject):
        return [content.named]
    inner: Sequence[Content] = ()
    if isinstance(content, Mapping):
        inner = list(content.values())
    elif isinstance(content, list | tuple):
        inner = content
    if depth > _DEEPEST:
        return []
    return list(dict.fromkeys(name for each in inner for name in objects_in(each, depth + 1)))


def candidates(
    mappings: Sequence[tuple[str, Mapping[str, Tensor]]], own: Mapping[str, Tensor]
) -> list[Candidate]:
    """What may be the state of a network with the tensors `own`, best match first."""
    found = [
        _candidate(entry, prefix, tensors)
        for entry, tensors in mappings
        for prefix in prefixes(tensors, own)
    ]
    return sorted(found, key=lambda each: (-each.matched(own), len(each.unexpected(own))))


def prefixes(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """What may stand before the network's names here; nothing where no name is the network's.

    Of several, those that come before as many names as the best one does, or that come before all
    of the network's.
    """
    counted: Counter[str] = Counter()
    for name in tensors:
        parts = name.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in own:
                counted["".join(f"{part}." for part in parts[:cut])] += 1
    if not counted:
        return [_common(tensors)]
    needed = min(max(counted.values()), sum(not is_counter(name) for name in own))
    return [prefix for prefix, count in counted.items() if count >= needed]


def _common(tensors: Mapping[str, Tensor]) -> str:
    """A first part that all names share and that has parts behind it."""
    first = {name.partition(".")[0] for name in tensors if "." in name}
    shared = len(first) == 1 and all("." in name for name in tensors)
    known = {"module", "_orig_mod", "model", "backbone", "net", "network"}
    if not shared or not first <= known:
        return ""
    prefix = f"{first.pop()}."
    return prefix + _common({name.removeprefix(prefix): v for name, v in tensors.items()})


def _candidate(entry: str, prefix: str, tensors: Mapping[str, Tensor]) -> Candidate:
    return Candidate(
        entry=entry,
        prefix=prefix,
        tensors={k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)},
        beside=tuple(name for name in tensors if not name.startswith(prefix)),
    )


def quantised(content: Content, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What shows that a file's state is quantised; empty where nothing does."""
    for name, value in tensors.items():
        numbers = name in own and own[name].is_floating_point() and not value.is_floating_point()
        if value.is_quantized or numbers:
            return f"{name} is {str(value.dtype).removeprefix('torch.')}"
    return next((name for name in _names(content) if _says_quantised(name)), "")


def _says_quantised(name: str) -> bool:
    return any(part in _QUANTISED_NAMES for part in name.split("."))


def _names(content: Content, depth: int = 0) -> Iterator[str]:
    """Every key of the mappings of a file."""
    if isinstance(content, Mapping) and depth <= _DEEPEST and not is_optimizer(content):
        for key, value in content.items():
            yield str(key)
            yield from _names(value, depth + 1)
