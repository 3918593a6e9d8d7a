"""Reads weights without unpickling objects, and writes them atomically."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from fastdfkd.core.network_use import load_state
from fastdfkd.models.mismatch import describe_mismatch, first_names
from fastdfkd.models.reading import objects_refused, read_content
from fastdfkd.models.state_search import (
    Candidate,
    candidates,
    is_counter,
    is_optimizer,
    mappings_in,
    objects_in,
    quantised,
)
from fastdfkd.models.unread_objects import Content
from fastdfkd.runs.files import write_whole
from fastdfkd.text.shown import shown, shown_name


@dataclass(frozen=True, kw_only=True)
class OpenedWeights:
    """What was read from a weights file, and what was loaded into the network."""

    file: str
    """Absolute path."""
    kind: str
    """Kind of the file, detected from its content (`models/file_kinds.py`)."""
    entry: str
    """Keys that lead to the state in the file, joined by dots; empty: the top level."""
    prefix: str
    """Prefix that was removed from every name."""
    matched: int
    """Number of tensors loaded: all of the network's, except counters that old files lack."""
    parameters: int
    """Number of values in them."""
    types: tuple[str, ...]
    """Types of the file's floating-point tensors; others than float32 were converted."""
    counters_missing: int
    """Number of BatchNorm counters (`num_batches_tracked`) that the file lacks."""
    unused: tuple[str, ...]
    """Tensors of the entry without the prefix, for example of a loss; not loaded."""
    unread: tuple[str, ...]
    """Classes of the objects in the file, which were not created."""

    @property
    def line(self) -> str:
        """The same as one line of text."""
        where = f", entry {shown_name(self.entry)}" if self.entry else ""
        cut = f", prefix {shown_name(self.prefix)} removed" if self.prefix else ""
        wide = [kind for kind in self.types if kind != "float32"]
        types = f", {' and '.join(wide)} converted to float32" if wide else ""
        beside = f", unused: {first_names(self.unused)}" if self.unused else ""
        objects = f", objects left unread: {first_names(self.unread)}" if self.unread else ""
        return (
            f"{shown_name(self.file)}: {self.kind}{where}{cut}, {self.matched} tensors matched "
            f"({self.parameters:,} numbers){types}{beside}{objects}"
        )

    def facts(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return asdict(self)


def load_weights(
    network: nn.Module, path: Path, built: str = "the network", *, entry: str | None = None
) -> OpenedWeights:
    """Load the weights at `path` into `network`, in place.

    The state is searched for among the mappings and prefixes of the file
    (`models/state_search.py`). All keys must match, except that `num_batches_tracked` may be
    missing, as in old checkpoints. Other floating-point types are converted.

    Args:
        network: to load into.
        path: a file of a kind in `models/file_kinds.py`, or a folder with such a file under a name
            that Hugging Face uses.
        built: description of the network for messages.
        entry: which state to load if two fit. The message about it lists them.

    Raises:
        ValueError: the file cannot be read (`models/reading.py`), has no state or a quantised one,
            or not exactly one state fits. The message says what to do.
    """
    file, kind, content = read_content(path)
    own = {key: value for key, value in network.state_dict().items() if isinstance(value, Tensor)}
    found = _states(content, file, own)
    chosen = _chosen(found if entry is None else _named(found, entry, file), own, file, built)
    taken = {key: chosen.tensors[key] for key in own if key in chosen.tensors}
    load_state(network, taken, strict=False)  # counters may be missing; the rest was checked
    state = list(taken.values())
    types = {str(each.dtype).removeprefix("torch.") for each in state if each.is_floating_point()}
    return OpenedWeights(
        file=str(file.absolute()),
        kind=kind,
        entry=chosen.entry,
        prefix=chosen.prefix,
        matched=len(state),
        parameters=sum(each.numel() for each in state),
        types=tuple(sorted(types)),
        counters_missing=sum(is_counter(key) and key not in chosen.tensors for key in own),
        unused=chosen.beside,
        unread=tuple(objects_in(content)),
    )


def _states(content: Content, path: Path, own: Mapping[str, Tensor]) -> list[Candidate]:
    """All states of the file that may be the network's, best match first.

    Raises:
        ValueError: there is none. The message says what the file holds instead.
    """
    mappings = list(mappings_in(content))
    if not mappings:
        raise ValueError(_no_state(content, path))
    found = candidates(mappings, own)
    best = found[0].tensors
    if named := quantised(content, best, own):
        raise ValueError(
            f"weights {shown_name(path)}: expected floating-point weights, got quantised ones "
            f"({shown_name(named)}). Integers pass no gradient to images or weights: give the "
            "weights from before the quantisation"
        )
    if others := [key for key, value in best.items() if not _is_plain(value)]:
        raise ValueError(
            f"weights {shown_name(path)}: expected only dense tensors, but {first_names(others)} "
            "are something else; save only model.state_dict()"
        )
    return found


def _no_state(content: Content, path: Path) -> str:
    if objects := objects_in(content):
        return objects_refused(path, ", ".join(objects[:3]))
    if is_optimizer(content) or (
        isinstance(content, Mapping) and any(map(is_optimizer, content.values()))
    ):
        return (
            f"weights {shown_name(path)}: expected a network's state dict, got an optimizer's "
            "state alone (state, param_groups); save model.state_dict()"
        )
    came = f"a {type(content).__name__}"
    if isinstance(content, Mapping):
        came = f"a mapping without tensors ({first_names([str(key) for key in content])})"
    if isinstance(content, Mapping) and not content:
        came = "nothing"
    return f"weights {shown_name(path)}: expected a state dict, got {came}; save model.state_dict()"


def _named(found: Sequence[Candidate], entry: str, path: Path) -> list[Candidate]:
    """The states that `teacher.entry` may mean.

    Raises:
        ValueError: no state of the file has this name.
    """
    named = [each for each in found if entry in (each.label, each.entry)]
    if not named:
        names = ", ".join(dict.fromkeys(shown(each.label) for each in found))
        raise ValueError(
            f"weights {shown_name(path)}: no entry {shown(entry)} with tensors; its entries are "
            f"{names}"
        )
    exactly = [each for each in named if each.label == entry]
    return exactly or named


def _chosen(
    found: Sequence[Candidate], own: Mapping[str, Tensor], path: Path, built: str
) -> Candidate:
    """The one state that fits the network.

    Raises:
        ValueError: none fits, or several different ones fit.
    """
    fitting = [each for each in found if each.fits(own)]
    if not fitting:
        best = found[0]
        under = f" (its entry {shown_name(best.label)})" if best.label else ""
        raise ValueError(
            "\n".join(
                [
                    f"weights {shown_name(path)}{under} do not fit {built}: {best.matched(own)} of "
                    f"its {len(own)} tensors match",
                    *describe_mismatch(best, own),
                    "  set model, data and arguments to those that the weights were trained with",
                ]
            )
        )
    different = [fitting[0], *(each for each in fitting[1:] if not each.same(fitting[0]))]
    if len(different) > 1:
        names = ", ".join(shown(each.label) for each in different)
        raise ValueError(
            f"weights {shown_name(path)}: expected one state that fits {built}, got "
            f"{len(different)} with different values: {names}; set teacher.entry to one of them"
        )
    return fitting[0]


def save_weights(path: Path | str, model_or_state: nn.Module | Mapping[str, Tensor]) -> None:
    """Write parameters and buffers as safetensors; a reader sees the old or the new file."""
    state = model_or_state
    if isinstance(state, nn.Module):
        state = state.state_dict()
    content = save({key: _plain(value).clone() for key, value in state.items()})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)


def weights_digest(state_dict: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of the names, types, shapes and bytes of all tensors, sorted by name.

    It does not depend on device or memory layout.
    """
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        value = _plain(state_dict[name])
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _plain(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous()


def _is_plain(value: Tensor) -> bool:
    """Whether a tensor has all values in memory: not sparse, not on the meta device."""
    return value.layout is torch.strided and not value.is_meta
