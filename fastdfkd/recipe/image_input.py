"""The recipe section `input`: what the images are that the teacher reads."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, field_validator

from fastdfkd.recipe.numbers import Positive, refuse_bool
from fastdfkd.recipe.pixel_form import PixelForm
from fastdfkd.text.shown import shown

TaskName = Literal["classification", "segmentation"]
"""What a network predicts: one class for each image, or one for each pixel."""

_CHANNELS = (1, 3)
_SMALLEST_SIDE = 8


def _classes(value: Any) -> Any:
    """Check a number of classes or a list of names; the names may be given as whole numbers."""
    refuse_bool(value)
    if value is None or isinstance(value, int):
        if value is not None and value < 2:
            hint = (
                ": a network with one output tells two classes apart; set classes to 2 and "
                "teacher.output to binary_logit or binary_probability"
            )
            raise ValueError(
                f"expected at least 2 classes, got {value}{hint if value == 1 else ''}"
            )
        return value
    if isinstance(value, str):
        raise ValueError(
            f"expected a number or a list of names, got the file name {shown(value)}: load_recipe "
            "reads such a file"
        )
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected a number, a list of names or a file of names, got {value!r}")
    for name in value:
        if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
            raise ValueError(
                f"expected names as text, got {shown(name)}: write them in quotes, because YAML "
                "reads words such as yes, no and on as true and false"
            )
    if len(value) < 2:
        raise ValueError(f"expected at least 2 names, got {len(value)}")
    return tuple(map(str, value))


class InputSection(PixelForm):
    """The images that the teacher reads. A named data set fills in what is left unset here."""

    later: ClassVar[frozenset[str]] = frozenset({"shape", "classes", "task"})

    shape: tuple[Positive, ...] | None = None
    """Channels, height and width: `[3, 224, 224]`; 1 channel is grey, 3 are RGB."""
    classes: Annotated[int | tuple[str, ...] | None, BeforeValidator(_classes)] = None
    """How many classes there are, or their names in the order of the teacher's outputs: a list, or
    a file of names, a text with one on each line or a JSON list or mapping from number to name. The
    file is read with the recipe, from the recipe's folder or else the working folder."""

    task: TaskName | None = None
    """What the networks predict: `classification`, one class for each image, or `segmentation`, one
    class for each pixel. Unset: what the data set states, else `classification`. See
    [segmentation](segmentation.md)."""

    @field_validator("shape")
    @classmethod
    def _is_a_shape(cls, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if shape is None:
            return shape
        if len(shape) != 3:
            raise ValueError(f"expected [channels, height, width], got {list(shape)}")
        channels, height, width = shape
        if channels not in _CHANNELS:
            last = width in _CHANNELS and f": did you mean {[width, channels, height]}?"
            raise ValueError(
                "expected [channels, height, width] with 1 channel (grey) or 3 (RGB), got "
                f"{list(shape)}{last or ''}"
            )
        if min(height, width) < _SMALLEST_SIDE:
            raise ValueError(
                f"expected a height and width of at least {_SMALLEST_SIDE} pixels, got "
                f"{height}x{width}"
            )
        return shape
