"""What to say of weights that do not fit: what is missing, and what it may be called instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from torch import Tensor

from fastdfkd.models.state_search import Candidate
from fastdfkd.text.shown import shown_name

LISTED = 5
"""Names in a line, and lines of names side by side."""

_COMPARED = 400
_SAME_SHAPE = 0.3
_ALIKE = 0.5


def describe_mismatch(candidate: Candidate, own: Mapping[str, Tensor]) -> list[str]:
    """Lines about a state that does not fit the network whose tensors are `own`."""
    missing, extra = candidate.missing(own), candidate.unexpected(own)
    reshaped = [
        f"{key} is {tuple(candidate.tensors[key].shape)}, expected {tuple(own[key].shape)}"
        for key in candidate.reshaped(own)
    ]
    findings = {"missing": missing, "unexpected": extra, "other shape": reshaped}
    lines = [f"  {kind}: {first_names(names)}" for kind, names in findings.items() if names]
    pairs = nearest_names(missing, extra, own, candidate.tensors)
    if not pairs:
        return lines
    left = [f"{name} {tuple(own[name].shape)}" for name, _ in pairs]
    right = [f"{name} {tuple(candidate.tensors[name].shape)}" for _, name in pairs]
    width = max(map(len, left))
    lines.append(f"  nearest names  {'the network'.ljust(width)}  the file")
    return lines + [
        f"                 {shown_name(mine).ljust(width)}  {shown_name(its)}"
        for mine, its in zip(left, right, strict=True)
    ]


def nearest_names(
    missing: Sequence[str],
    extra: Sequence[str],
    own: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
) -> list[tuple[str, str]]:
    """The first missing names, each with the name in the file that is most like it.

    A tensor of the same shape counts as more alike. Names with nothing like them are left out.
    """
    pairs: list[tuple[str, str]] = []
    free = list(extra[:_COMPARED])
    for name in missing[:LISTED]:
        likeness = {
            other: SequenceMatcher(None, name, other).ratio()
            + _SAME_SHAPE * (tensors[other].shape == own[name].shape)
            for other in free
        }
        best = max(likeness, key=likeness.__getitem__, default=None)
        if best is not None and likeness[best] >= _ALIKE:
            pairs.append((name, best))
            free.remove(best)
    return pairs


def first_names(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(shown_name, names[:LISTED])) + more
