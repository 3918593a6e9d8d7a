"""What the images of an experiment are, as the teacher and as the student read them.

`real_images` is where real ones come from. `image_spec` is what the data source states, completed
by the section `input` and by the teacher's source. All other code asks here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.student_form import StudentForm
from fastdfkd.data import WITHOUT_FILES, DataSource, Stated, complete_spec, data_source
from fastdfkd.models import stated_input
from fastdfkd.recipe import Recipe, RecipeError


def real_images(recipe: Recipe, root: str | Path | None = None) -> DataSource:
    """Where a recipe's real images come from.

    Args:
        recipe: of the experiment.
        root: replaces `data.root` if set.

    Raises:
        RecipeError: there is no such data set, or it has no files that `root` could hold.
    """
    section = recipe.data
    if root is not None:
        if section.name in WITHOUT_FILES:
            raise RecipeError(
                f"images at {root} were named, but the recipe has data.name: {section.name}, which "
                f"reads no files: set data.name (folder, npz, parquet, ...) and data.root={root}"
            )
        section = section.model_copy(update={"root": str(root)})
    return data_source(section)


def image_spec(recipe: Recipe) -> ImageSpec:
    """Description of a recipe's images: shape, classes, mean and standard deviation.

    Raises:
        RecipeError: there is no such data set, or neither it nor `input` nor the teacher's source
            says what they are.
    """
    return complete_spec(_stated(recipe), recipe.input)


def _stated(recipe: Recipe) -> ImageSpec | Stated:
    """What the data source states, completed by what the teacher's source states.

    The teacher's source fills in only what neither the data source nor `input` gives.
    """
    stated, section = real_images(recipe).stated, recipe.input
    if isinstance(stated, ImageSpec):
        return stated
    teacher = stated_input(recipe.teacher)
    found: dict[str, Any] = {}
    shape = section.shape or stated.shape
    if shape is None and teacher.channels and teacher.size:
        shape = found["shape"] = (teacher.channels, *teacher.size)
    if stated.mean is None and teacher.mean and shape and len(teacher.mean) == shape[0]:
        found |= {"mean": teacher.mean, "std": teacher.std}
    names = teacher.class_names
    if names and section.classes is None and not (stated.num_classes or stated.read_classes):
        found |= {"num_classes": len(names), "class_names": names}
    return replace(stated, **found)


def student_spec(recipe: Recipe) -> ImageSpec:
    """The images as the student reads them: `image_spec`, in the student's size and normalisation.

    Raises:
        RecipeError: the images are not described, or have another number of channels.
    """
    spec, section = image_spec(recipe), recipe.student
    if spec.kind.spatial_axes and section.size not in (None, spec.shape[1:]):
        raise RecipeError(
            f"student.size: {list(section.size or ())}, but {spec.task} compares the maps of both "
            "networks pixel by pixel: leave student.size out, so that the student reads "
            f"{list(spec.shape[1:])}"
        )
    try:
        mean, std = section.moments(spec.channels) or (spec.mean, spec.std)
    except ValueError as error:
        raise RecipeError(f"student.{error}") from None
    return replace(
        spec, shape=(spec.channels, *(section.size or spec.shape[1:])), mean=mean, std=std
    )


def check_method(recipe: Recipe) -> None:
    """Check that the recipe's method can be used for its task. Nothing is opened but the recipe.

    Raises:
        RecipeError: it cannot.
    """
    if why := recipe.synthesis.misfit(image_spec(recipe).task):
        raise RecipeError(why)


def by_class(spec: ImageSpec, values: Sequence[float]) -> dict[str, float | None]:
    """Values (K,) by the names of the classes, or by their numbers; None for NaN. Empty for none.

    Two classes of one name are told apart by their numbers.
    """
    names = [f"{number}" for number in range(spec.num_classes)]
    if len(set(spec.class_names)) == spec.num_classes:
        names = list(spec.class_names)
    return {
        name: None if math.isnan(value) else value
        for name, value in zip(names, values, strict=False)
    }


def student_input(recipe: Recipe, device: torch.device | str) -> Callable[[Tensor], Tensor]:
    """Maps images in 0..1, of the teacher's size, to the student's input on `device`."""
    spec, own = image_spec(recipe), student_spec(recipe)
    return spec.normalisation(device) if own == spec else StudentForm.of_pixels(own, device)
