"""What a recipe's images are: what its data source states, completed by its `input` section."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.task_kind import KINDS
from fastdfkd.recipe import NORMALISATIONS, InputSection, TaskName
from fastdfkd.recipe.messages import RecipeError


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a data source states about its images. The recipe must state the rest.

    The fields are those of `ImageSpec`; None: not known.
    """

    name: str
    shape: tuple[int, int, int] | None = None
    num_classes: int | None = None
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    task: TaskName | None = None
    read_classes: Callable[[TaskName], tuple[str, ...]] | None = None
    """Reads the names of the classes from the files, where the recipe does not state them."""
    label_sets: tuple[tuple[str, ...], ...] = ()
    """Names of the classes of each set of labels that the images come with; the first is used where
    the recipe states no classes. Empty: `num_classes` and `class_names` hold."""

    def names_of(self, count: int) -> tuple[str, ...]:
        """Names of the classes if there are `count`; empty if they have none.

        Raises:
            RecipeError: no set of labels has so many.
        """
        sets = {len(names): names for names in self.label_sets}
        if sets and count not in sets:
            numbers = " or ".join(map(str, sets))
            raise RecipeError(f"input.classes: {count} classes, but {self.name} has {numbers}")
        return sets.get(count, self.class_names)


def complete_spec(stated: ImageSpec | Stated, section: InputSection) -> ImageSpec:
    """The description of a recipe's images. What the recipe says wins.

    Args:
        stated: what the data source states.
        section: `input` of the recipe.

    Raises:
        RecipeError: something is stated by neither, or the two contradict each other.
    """
    if section.task and stated.task not in (None, section.task):
        raise RecipeError(
            f"input.task: {section.task}, but {stated.name} is for {stated.task}: leave input.task "
            "out"
        )
    task = section.task or stated.task or "classification"
    shape = _shape(stated, section, task)
    count, names = _classes(stated, section, task)
    mean, std = _moments(stated, section, shape[0])
    return ImageSpec(
        name=stated.name,
        shape=shape,
        num_classes=count,
        class_names=names,
        mean=mean,
        std=std,
        task=task,
    )


def _classes(
    stated: ImageSpec | Stated, section: InputSection, task: TaskName
) -> tuple[int, tuple[str, ...]]:
    """The number of classes and their names, which may be none."""
    classes, count = section.classes, stated.num_classes
    if classes is None and isinstance(stated, Stated):
        if stated.read_classes is not None:
            classes = stated.read_classes(task) or None
        elif stated.label_sets:
            classes = stated.label_sets[0]
    if classes is not None:
        count = len(classes) if isinstance(classes, tuple) else classes
    if count is None:
        raise RecipeError(_missing("classes", "their number or their names", stated))
    if stated.num_classes not in (None, count):
        raise RecipeError(
            f"input.classes: {count} classes, but {stated.name} has {stated.num_classes}: give one "
            "for each, or leave input.classes out"
        )
    names = stated.names_of(count) if isinstance(stated, Stated) else stated.class_names
    return count, classes if isinstance(classes, tuple) else names


def _shape(
    stated: ImageSpec | Stated, section: InputSection, task: TaskName
) -> tuple[int, int, int]:
    """(C, H, W); with a class for each pixel it is a crop, whose size is the recipe's choice."""
    if section.shape is None:
        if stated.shape is None:
            raise RecipeError(
                _missing("shape", "[channels, height, width], such as [3, 224, 224]", stated)
            )
        return stated.shape
    channels, height, width = section.shape
    fixed = not KINDS[task].spatial_axes
    if fixed and stated.shape not in (None, (channels, height, width)):
        raise RecipeError(
            f"input.shape: {list(section.shape)}, but the images of {stated.name} are "
            f"{list(stated.shape or ())}: leave input.shape out"
        )
    return channels, height, width


def _moments(
    stated: ImageSpec | Stated, section: InputSection, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    try:
        moments = section.moments(channels)
    except ValueError as error:
        raise RecipeError(f"input.{error}") from None
    if moments is not None:
        return moments
    if stated.mean is None or stated.std is None:
        what = f"one of {', '.join(NORMALISATIONS)}, or input.mean and input.std"
        raise RecipeError(
            _missing("normalisation", f"what the teacher was trained with, {what}", stated)
        )
    return stated.mean, stated.std


def _missing(key: str, what: str, stated: ImageSpec | Stated) -> str:
    return f"input.{key}: is required with data.name: {stated.name} and was not given: {what}"
