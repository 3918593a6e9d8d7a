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
from fastdfkd.models.mismatch import first, mismatch
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
    """What was opened, and what of it became the network's weights."""

    file: str
    """Absolute path."""
    kind: str
    """Of the file, told from its content (`models/file_kinds.py`)."""
    entry: str
    """Where in the file the state was, dots between the keys; empty at the top."""
    prefix: str
    """What was taken off the front of every name."""
    matched: int
    """Tensors that went into the network: all that it has, but for counters of old files."""
    parameters: int
    """Numbers in them."""
    types: tuple[str, ...]
    """Types of the file's floating-point tensors; what is not float32 was converted."""
    counters_missing: int
    """BatchNorm counters (`num_batches_tracked`) that the file lacks."""
    unused: tuple[str, ...]
    """Tensors beside the state that do not have its prefix, a loss's or a metric's perhaps."""
    unread: tuple[str, ...]
    """Classes of the objects in the file, which were not made."""

    @property
    def line(self) -> str:
        """The same in a line."""
        where = f", entry {shown_name(self.entry)}" if self.entry else ""
        cut = f", prefix {shown_name(self.prefix)} taken off" if self.prefix else ""
        wide = [kind for kind in self.types if kind != "float32"]
        types = f", {' and '.join(wide)} converted to float32" if wide else ""
        beside = f", unused: {first(self.unused)}" if self.unused else ""
        objects = f", objects left unread: {first(self.unread)}" if self.unread else ""
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

    The file is of any kind that `models/file_kinds.py` knows. The state is looked for among its
    mappings and prefixes (`models/state_search.py`). `num_batches_tracked` may be missing; all else
    has to fit. Other floating-point types are converted.

    Args:
        network: what the weights are for.
        path: a file, or a folder with weights under the names that Hugging Face gives them.
        built: names the network in messages.
        entry: which state is meant where two fit, as the message about it lists them.

    Raises:
        ValueError: the file cannot be read (`models/reading.py`), holds no state, a quantised one,
            or none or several that fit. The message says what to do.
    """
    file, kind, content = read_content(path)
    own = {key: value for key, value in network.state_dict().items() if isinstance(value, Tensor)}
    found = _states(content, file, own)
    chosen = _chosen(found if entry is None else _named(found, entry, file), own, file, built)
    taken = {key: chosen.tensors[key] for key in own if key in chosen.tensors}
    load_state(network, taken, strict=False)  # counters may be missing; the rest is known to fit
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
    """Every state that the file may hold for the network, best match first.

    Raises:
        ValueError: there is none. Says what the file holds instead.
    """
    mappings = list(mappings_in(content))
    if not mappings:
        raise ValueError(_no_state(content, path))
    found = candidates(mappings, own)
    best = found[0].tensors
    if named := quantised(content, best, own):
        raise ValueError(
            f"weights {shown_name(path)}: expected floating-point weights, got quantised ones "
            f"({shown_name(named)}): integers pass no gradient to images or weights; give the "
            "weights as they were before they were quantised"
        )
    if strangers := [key for key, value in best.items() if not _is_plain(value)]:
        raise ValueError(
            f"weights {shown_name(path)}: expected only dense tensors, but {first(strangers)} are "
            "none; save model.state_dict() alone"
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
        came = f"a mapping without tensors ({first([str(key) for key in content])})"
    if isinstance(content, Mapping) and not content:
        came = "nothing"
    return f"weights {shown_name(path)}: expected a state dict, got {came}; save model.state_dict()"


def _named(found: Sequence[Candidate], entry: str, path: Path) -> list[Candidate]:
    """Those that `teacher.entry` may mean.

    Raises:
        ValueError: nothing in the file is called so.
    """
    named = [each for each in found if entry in (each.label, each.entry)]
    if not named:
        names = ", ".join(dict.fromkeys(shown(each.label) for each in found))
        raise ValueError(
            f"weights {shown_name(path)}: no entry {shown(entry)} with tensors; there is {names}"
        )
    exactly = [each for each in named if each.label == entry]
    return exactly or named


def _chosen(
    found: Sequence[Candidate], own: Mapping[str, Tensor], path: Path, built: str
) -> Candidate:
    """The one state that fits the network.

    Raises:
        ValueError: none fits, or several that are not the same.
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
                    *mismatch(best, own),
                    "  name the model, classes and channels that the weights were saved from",
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
    """A tensor whose every value is there: not sparse, not on torch's device without memory."""
    return value.layout is torch.strided and not value.is_meta
