"""Matches the classes that image files name to the classes of the networks."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.text.shown import shown

_MOST = 12


def match_classes(found: Sequence[str], spec: ImageSpec, where: str) -> tuple[list[int], str]:
    """The class of each name, and a sentence that says how they were matched.

    Names are matched as they are; else without regard to case, spaces, `-` and `_`. If no name
    fits, sorted order decides, as in torchvision's `ImageFolder`.

    Args:
        found: names in the data, each once.
        spec: has the classes of the networks.
        where: what messages call the data.

    Raises:
        ValueError: the numbers differ, or only some of the names fit.
    """
    names = list(spec.class_names)
    if len(found) != spec.num_classes:
        raise ValueError(
            f"{where}: expected {spec.num_classes} classes"
            f"{f' ({_listed(names)})' if names else ''}, found {len(found)} "
            f"({_listed(sorted(found))}). Set input.classes to the classes of the teacher, or "
            f"{_advice(found, names, spec.num_classes)}"
        )
    for form in (str, _plain):
        places = {form(name): place for place, name in enumerate(names)}
        wanted = [form(name) for name in found]
        if len(places) == len(names) > 0 and set(wanted) == set(places):
            return [places[name] for name in wanted], f"{where}: classes matched by name"
    known = {_plain(name) for name in names}
    strange = [name for name in found if _plain(name) not in known]
    if names and len(strange) < len(found):
        near = difflib.get_close_matches(strange[0], names, 1) if strange else []
        raise ValueError(
            f"{where}: expected the classes {_listed(names)}, but found {_listed(sorted(strange))}"
            f"{f' (did you mean {near[0]}?)' if near else ''}, while other names fit. Rename "
            "them in the data or in input.classes"
        )
    order = sorted(found)
    how = "the networks' classes have no names" if not names else "no name fits"
    return (
        [order.index(name) for name in found],
        f"{where}: classes matched by sorted order, because {how}: {_pairs(order, names)}",
    )


def _advice(found: Sequence[str], names: Sequence[str], expected: int) -> str:
    if len(found) < expected:
        return "add the missing folders (an empty one will do)"
    known = {_plain(name) for name in names}
    others = [name for name in sorted(found) if _plain(name) not in known]
    named = f": {_listed(others)}" if 0 < len(others) < len(found) else ""
    return f"leave out the others{named}"


def _plain(name: str) -> str:
    return "".join(" " if character in "-_ " else character for character in name.casefold())


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(shown(name)[1:-1] for name in names[:_MOST])
    return listed + (f", ... ({len(names)} in all)" if len(names) > _MOST else "")


def _pairs(found: Sequence[str], names: Sequence[str]) -> str:
    pairs = [f"{name} is {names[i] if names else i}" for i, name in enumerate(found[:3])]
    return _listed(pairs) + (", ..." if len(found) > len(pairs) else "")
