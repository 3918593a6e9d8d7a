"""What a user calls from Python; the commands call the same functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastdfkd.recipe import Overrides, Recipe, load_recipe
from fastdfkd.recipe.source_texts import given
from fastdfkd.runs.folder import TEACHER_FILES, check_kinds, claimed
from fastdfkd.runs.folder_lock import held
from fastdfkd.runs.result import RunResult
from fastdfkd.runs.source_texts import sources_in

if TYPE_CHECKING:
    from torch import nn

    from fastdfkd.api.evaluation import Evaluation
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
    """Compress a teacher without its data, and measure what it cost.

    Args:
        source: a recipe file, the name of one that ships, or a recipe.
        overrides: `{"synthesis.steps": 2}` or `["synthesis.steps=2"]`.
        out: folder of the run; unset: `runs/<recipe>-<time>/`.
        address: a Ray cluster to join; unset: Ray is started here and stopped afterwards.
        teacher: your own network instead of the one that `recipe.teacher` describes.
        overwrite: replace the run that is in `out`.
        parent_run_id: MLflow run that this one is shown under.
        progress: show a progress bar on stderr where that is a terminal.
        run_name: in MLflow; unset: the recipe's name.

    Returns:
        The figures of the run. Its `directory` holds `recipe.yaml`, `teacher.json`,
        `metrics.csv`, `student.safetensors`, `samples.png` and `result.json`.

    Raises:
        RecipeError: the recipe cannot be used.
        FolderInUseError: another driver works in `out`.
        ValueError: `out` is not empty, or the teacher does not fit the recipe.
        OSError: the folder cannot be written to.
        TrackingError: the MLflow store cannot be opened.
    """
    from fastdfkd.api.execution import execute

    recipe = load_recipe(source, overrides)
    with claimed(recipe.name, out, overwrite=overwrite) as directory:
        return execute(
            recipe,
            directory,
            address=address,
            model=teacher,
            parent_run_id=parent_run_id,
            progress=progress,
            run_name=run_name,
        )


def resume(
    directory: str | Path,
    *,
    address: str | None = None,
    teacher: nn.Module | None = None,
    progress: bool = False,
) -> RunResult:
    """Go on with a run that was broken off, from its newest whole checkpoint.

    In lock-step with one synthesizer and one worker the student is exactly that of a run that was
    never broken off. Python files that its recipe names are taken from the folder, as they were.

    Args:
        directory: folder of the run.
        address: a Ray cluster to join; unset: Ray is started here and stopped afterwards.
        teacher: the network that the run was begun with, where it was given as an object.
        progress: show a progress bar on stderr where that is a terminal.

    Raises:
        FileNotFoundError: the folder holds no run.
        FolderInUseError: the run goes on in another process.
        ValueError: the run is finished, a file of it is damaged, or its teacher cannot be had.
    """
    from fastdfkd.api.execution import execute

    folder = Path(directory).expanduser().absolute()
    if not (folder / "recipe.yaml").is_file():
        raise FileNotFoundError(f"{folder} holds no run to resume: recipe.yaml is missing")
    with held(folder):
        check_kinds(folder)
        if (folder / "result.json").is_file():
            _check_result(folder)
            raise ValueError(f"the run in {folder} is finished: there is nothing to resume")
        recipe = load_recipe(folder / "recipe.yaml")
        with given(sources_in(folder)):
            return execute(
                recipe, folder, address=address, model=teacher, progress=progress, resume=True
            )


def _check_result(folder: Path) -> None:
    try:
        RunResult.load(folder)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{error}. Move the file away to go on with the run from its last checkpoint"
        ) from error


def train_teacher(
    source: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Teacher:
    """Train (or open, where it is cached or the recipe names weights) the teacher of a recipe.

    Writes `teacher.safetensors` and `teacher.json` to `out`, by default
    `runs/teacher-<recipe>-<time>/`.

    Raises:
        RecipeError: the recipe cannot be used.
        FolderInUseError: another driver works in `out`.
        ValueError: `out` is not empty, or the weights do not fit.
        OSError: the folder cannot be written to.
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
    """`train_teacher`, and the folder that it wrote to."""
    from fastdfkd.api.execution import obtain_teacher, write_teacher
    from fastdfkd.data import cache_somewhere

    recipe = load_recipe(source, overrides)
    name = f"teacher-{recipe.name}"
    with claimed(name, out, overwrite=overwrite, files=TEACHER_FILES) as directory:
        cache_somewhere(directory / "cache")
        teacher = obtain_teacher(recipe, progress=progress)
        write_teacher(teacher, directory, weights=True)
    return teacher, directory


def evaluate(directory: str | Path, *, data_root: str | Path | None = None) -> Evaluation:
    """Judge the student of a run again, on the real held-out images.

    Args:
        directory: folder of the run.
        data_root: where the images are, if not where the recipe says.

    Raises:
        FileNotFoundError: the folder holds no student, or no recipe.
        ValueError: a file in it is damaged, or the images are not to be had.
    """
    from fastdfkd.api.evaluation import evaluate_folder

    folder = Path(directory)
    with given(sources_in(folder)):
        return evaluate_folder(folder, data_root=data_root)
