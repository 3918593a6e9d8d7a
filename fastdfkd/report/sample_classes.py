"""The images of `samples.png` by the class that the teacher assigns to them, for a page."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fastdfkd.report.page import embedded
from fastdfkd.report.samples import tiles
from fastdfkd.runs.details import RunDetails


@dataclass(frozen=True)
class Sample:
    """One image."""

    data: str
    """A PNG as base64."""
    student: str
    """The class that the student assigns to it; empty: there is no student."""
    differs: bool
    """Whether that is another class than the teacher's."""


def samples_by_class(sheet: Path, details: RunDetails) -> dict[str, list[Sample]]:
    """The images by the name of the teacher's class, in the order of the classes.

    Empty if the details do not say the classes.

    Raises:
        OSError: the picture is damaged.
        ValueError: it is not a picture of these images.
    """
    taught, names = details.sample_classes.get("teacher", []), details.class_names
    learnt = details.sample_classes.get("student", [])
    if not taught:
        return {}
    images = tiles(sheet, details.shape, len(taught))
    found: dict[str, list[Sample]] = {}
    for number in sorted(range(len(taught)), key=taught.__getitem__):
        differs = bool(learnt) and learnt[number] != taught[number]
        student = names[learnt[number]] if learnt else ""
        name = names[taught[number]]
        found.setdefault(name, []).append(Sample(_png(images[number]), student, differs))
    return found


def _png(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, format="PNG")
    return embedded(content.getvalue())
