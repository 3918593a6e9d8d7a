"""Checks that a resumed run is the run that was started: the same teacher, the same recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.runs.folder import read_json
from fastdfkd.text.shown import shown, shown_name

if TYPE_CHECKING:
    from fastdfkd.trainers.checkpoint import Checkpoint
    from fastdfkd.trainers.teacher import Teacher

_MAY_CHANGE = (
    "description",
    "bank.start_from",
    "bank.location",
    "bank.scratch",
    "data.root",
    "teacher.weights",
    "teacher.entry",
    "tracking.",
    "platform.device",
    "platform.workers",
    "platform.cpus_per",
    "platform.gpus_per",
    "platform.cuda_graphs",
    "platform.compile",
    "platform.evaluations",
    "platform.checkpoint_every",
    "platform.most_worker_failures",
    "platform.start_timeout_s",
    "platform.autoscale_timeout_s",
)
"""Keys, or prefixes of keys, that may have another value when a run is resumed. What depends on
files (images, weights) is compared by its digest."""


def with_trained_precision(recipe: Recipe, directory: Path) -> Recipe:
    """The recipe with the precision that its teacher was trained in.

    `teacher.precision: auto` may mean another precision on the machine that resumes the run.

    Args:
        recipe: of the run.
        directory: of the run. If its `teacher.json` cannot be read, the recipe is returned as it
            is, and `check_same_teacher` reports the file.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        precision = read_json(directory / "teacher.json")["training"]["precision"]
        return load_recipe(recipe, {"teacher.precision": precision})
    return recipe


def checkpoint_to_resume(recipe: Recipe, teacher: Teacher, directory: Path) -> Checkpoint | None:
    """The newest complete checkpoint in a run's folder; None: the run starts from the beginning.

    Raises:
        ValueError: the run was started with another teacher or another recipe.
    """
    from fastdfkd.trainers.checkpoint import CheckpointFolder

    check_same_teacher(teacher, directory)
    checkpoint = CheckpointFolder(directory).newest(read_images=recipe.bank.location == "device")
    if checkpoint is not None:
        check_same_recipe(recipe, checkpoint.state["recipe"], directory)
    return checkpoint


def check_same_teacher(teacher: Teacher, directory: Path) -> None:
    """Check that a resumed run has the teacher that it was started with.

    Raises:
        ValueError: it is another teacher, or `teacher.json` cannot be read.
    """
    path = directory / "teacher.json"
    try:
        digest = str(read_json(path)["digest"])
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path}: expected the digest of the teacher that the run was started with: {error}"
        ) from error
    if digest != teacher.digest:
        raise ValueError(
            f"{path}: the run was started with the teacher {digest:.12}, and this teacher is "
            f"{teacher.digest:.12}: give the same weights, or start a new run"
        )


def check_same_recipe(recipe: Recipe, earlier: Mapping[str, Any], directory: Path) -> None:
    """Check that a resumed run has the recipe of its last checkpoint, except for `_MAY_CHANGE`.

    Raises:
        ValueError: another key was changed in `recipe.yaml`; images or student depend on it.
    """
    now = recipe.flat()
    # An older version had fewer keys.
    earlier = {key: _default(recipe, key) for key in now} | dict(earlier)
    changed = [
        f"{shown_name(key)} was {shown(earlier[key])} and is {shown(now.get(key))}"
        for key in sorted(earlier)
        if earlier[key] != now.get(key) and not key.startswith(_MAY_CHANGE)
    ]
    if changed:
        raise ValueError(
            f"{directory / 'recipe.yaml'} was changed since the run's last checkpoint: "
            f"{'; '.join(changed)}. Undo the change to resume, or start a new run in another folder"
        )


def _default(recipe: Recipe, key: str) -> Any:
    """The default value of a recipe's key."""
    section, _, name = key.partition(".")
    fields = type(getattr(recipe, section) if name else recipe).model_fields
    field = fields.get(name or section)  # None for an entry of a mapping
    return field.default if field else None
