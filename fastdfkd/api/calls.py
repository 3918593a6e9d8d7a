"""The Python functions for users. The commands call the same functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastdfkd.recipe import Overrides, Recipe, images_only, load_recipe
from fastdfkd.recipe.source_texts import given
from fastdfkd.runs.folder import TEACHER_FILES, claim_folder
from fastdfkd.runs.result import RunResult
from fastdfkd.runs.source_texts import sources_in

if TYPE_CHECKING:
    from torch import nn

    from fastdfkd.api.evaluation import Evaluation
    from fastdfkd.report.check_report import CheckReport
    from fastdfkd.trainers.teacher import Teacher


def distill(
    source: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    out: str | Path | None = None,
    address: str | None = None,
    teacher: nn.Module | None = None,
    overwrite: bool = False,
    parent_run_id: str | None = None,
    progress: bool = False,
    run_name: str | None = None,
) -> RunResult:
    """Train a student from a teacher without the teacher's data, and measure the cost.

    Args:
        source: a recipe file, the name of a recipe of this package, or a recipe.
        overrides: `{"synthesis.steps": 2}` or `["synthesis.steps=2"]`.
        out: folder of the run; unset: `runs/<recipe>-<time>/`.
        address: Ray cluster to connect to; unset: start Ray here and stop it afterwards.
        teacher: your network; it replaces the one that the recipe describes.
        overwrite: replace an earlier run in `out`.
        parent_run_id: parent run in MLflow.
        progress: show a progress bar if stderr is a terminal.
        run_name: name in MLflow; unset: the recipe's name.

    Returns:
        The figures of the run. Its `directory` contains `recipe.yaml`, `teacher.json`,
        `metrics.csv`, `student.safetensors`, `samples.png`, `details.json` and `result.json`.

    Raises:
        RecipeError: the recipe is invalid.
        FolderInUseError: another process is using `out`.
        ValueError: `out` is not empty, or a network does not fit the recipe.
        OSError: the folder is not writable.
        TrackingError: the MLflow store cannot be opened.
    """
    from fastdfkd.api.execution import execute

    recipe = load_recipe(source, overrides)
    with claim_folder(recipe.name, out, overwrite=overwrite) as directory:
        return execute(
            recipe,
            directory,
            address=address,
            model=teacher,
            parent_run_id=parent_run_id,
            progress=progress,
            run_name=run_name,
        )


def synthesize(
    source: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    out: str | Path | None = None,
    address: str | None = None,
    teacher: nn.Module | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> RunResult:
    """Make a recipe's images without a student, for `bank.start_from` of later runs.

    The adversarial term is off, because there is no student. The images are in
    `checkpoints/` of the folder; no student is written.

    Args:
        source: see `distill`.
        overrides: see `distill`.
        out: folder to write to; unset: `runs/images-<recipe>-<time>/`.
        address: see `distill`.
        teacher: see `distill`.
        overwrite: replace an earlier run in `out`.
        progress: show a progress bar if stderr is a terminal.

    Returns:
        The figures of the run, with 0 student updates.

    Raises:
        RecipeError: the recipe is invalid, or its method needs a student.
        FolderInUseError: another process is using `out`.
        ValueError: `out` is not empty, or a network does not fit the recipe.
        OSError: the folder is not writable.
        TrackingError: the MLflow store cannot be opened.
    """
    from fastdfkd.api.execution import execute

    recipe = images_only(load_recipe(source, overrides))
    with claim_folder(f"images-{recipe.name}", out, overwrite=overwrite) as directory:
        return execute(
            recipe,
            directory,
            address=address,
            model=teacher,
            progress=progress,
            run_name=f"images-{recipe.name}",
            images_only=True,
        )


def train_teacher(
    source: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Teacher:
    """Train the teacher of a recipe, or open it if it is cached or the recipe names its weights.

    Writes `teacher.safetensors` and `teacher.json` to `out`, by default
    `runs/teacher-<recipe>-<time>/`.

    Args:
        source: see `distill`.
        overrides: see `distill`.
        out: folder to write to.
        overwrite: replace an earlier teacher in `out`.
        progress: show a progress bar if stderr is a terminal.

    Raises:
        RecipeError: the recipe is invalid.
        FolderInUseError: another process is using `out`.
        ValueError: `out` is not empty, or the weights do not fit the model.
        OSError: the folder is not writable.
    """
    return train_teacher_into(source, overrides, out=out, overwrite=overwrite, progress=progress)[0]


def train_teacher_into(
    source: str | Path | Recipe,
    overrides: Overrides,
    *,
    out: str | Path | None,
    overwrite: bool,
    progress: bool,
) -> tuple[Teacher, Path]:
    """Same as `train_teacher`; also returns the folder that it wrote to."""
    from fastdfkd.api.execution import obtain_teacher, write_teacher
    from fastdfkd.data import use_fallback_cache

    recipe = load_recipe(source, overrides)
    name = f"teacher-{recipe.name}"
    with claim_folder(name, out, overwrite=overwrite, files=TEACHER_FILES) as directory:
        use_fallback_cache(directory / "cache")
        teacher = obtain_teacher(recipe, progress=progress)
        write_teacher(teacher, directory, weights=True)
    return teacher, directory


def check(
    source: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    teacher: nn.Module | None = None,
    images: int = 1000,
) -> CheckReport:
    """Check a recipe before a run: its networks and images, and what a run would cost here.

    Trains no teacher, starts no Ray and writes nothing but caches. A few steps of each role are
    made to measure their cost.

    Args:
        source: see `distill`.
        overrides: see `distill`.
        teacher: your network; it replaces the one that the recipe describes.
        images: most held-out images on which the teacher is evaluated.

    Raises:
        RecipeError: the recipe is invalid.
        ValueError: the networks, weights or images cannot be used, or do not fit the machine.
    """
    from fastdfkd.api.checking import check_recipe

    return check_recipe(load_recipe(source, overrides), model=teacher, images=images)


def evaluate(
    directory: str | Path, overrides: Overrides = (), *, data_root: str | Path | None = None
) -> Evaluation:
    """Evaluate the student of a finished run on the held-out images.

    Args:
        directory: folder of the run.
        overrides: other images than those of the run, as changes to `data` and `evaluation` of its
            recipe: `["data.name=folder", "data.root=photos.zip"]`.
        data_root: folder of the images; unset: `data.root` of the recipe.

    Raises:
        FileNotFoundError: the folder contains no student or no recipe.
        ValueError: a file in it is damaged, the images are missing, or an override changes
            another section.
    """
    from fastdfkd.api.evaluation import evaluate_folder

    folder = Path(directory)
    with given(sources_in(folder)):
        return evaluate_folder(folder, overrides, data_root=data_root)
