"""Runs a recipe from start to result: teacher, cluster, recorder, pipeline, files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastdfkd import tracking
from fastdfkd.api.same_run import checkpoint_to_resume, with_trained_precision
from fastdfkd.recipe import Recipe
from fastdfkd.recipe.device_choices import with_cuda_choices
from fastdfkd.recipe.source_texts import given
from fastdfkd.report.progress import EpochProgress, RunProgress
from fastdfkd.runs.folder import write_json, write_text
from fastdfkd.runs.result import RunResult
from fastdfkd.runs.source_texts import write_sources

if TYPE_CHECKING:
    from torch import nn

    from fastdfkd.trainers.teacher import Teacher


def execute(
    recipe: Recipe,
    directory: Path,
    *,
    address: str | None = None,
    model: nn.Module | None = None,
    parent_run_id: str | None = None,
    progress: bool = False,
    run_name: str | None = None,
    complete: Callable[[RunResult], RunResult] | None = None,
    resume: bool = False,
    images_only: bool = False,
) -> RunResult:
    """Run a recipe in a claimed folder. Raises what `api.distill` and `api.resume` document.

    Args:
        recipe: to run.
        directory: folder for the run's files.
        address: Ray cluster to connect to; unset: start Ray here.
        model: the user's own teacher.
        parent_run_id: parent run in MLflow.
        progress: show a progress bar.
        run_name: name in MLflow and of the progress bar; unset: the recipe's name.
        complete: is applied to the result (to add speed-ups) before it is written and recorded.
        resume: continue from the newest complete checkpoint in the folder; start if there is none.
        images_only: make images without a student; `recipe` is then made by `recipe.images_only`.
    """
    tracking.check_reachable(tracking.store_uri(recipe.tracking.uri))
    from fastdfkd.data import use_fallback_cache

    use_fallback_cache(directory / "cache")
    # The text of a Python file is read once: it may be edited while the run starts.
    with given(recipe.source_texts()), contextlib.ExitStack() as connection:
        _check_parts(recipe)
        teacher = obtain_teacher(
            with_trained_precision(recipe, directory) if resume else recipe,
            model=model,
            progress=progress,
            before_work=partial(_connect, recipe, address, connection),
        )
        checkpoint = checkpoint_to_resume(recipe, teacher, directory) if resume else None
        recipe, notes = _settled_here(recipe, teacher)
        from fastdfkd.platform import pipeline

        _write_inputs(recipe, teacher, directory)
        label = run_name or recipe.name
        with RunProgress(recipe, label, shown=progress, images_only=images_only) as bar:
            recorder = tracking.Recorder(
                recipe,
                directory,
                run_name=label,
                parent_run_id=parent_run_id,
                progress=bar,
                resume_at=(checkpoint.updates if checkpoint else 0) if resume else None,
                images_only=images_only,
            )
            run = partial(pipeline.run, checkpoint=checkpoint, images_only=images_only, notes=notes)
            return _recorded_run(run, recipe, teacher, directory, recorder, complete)


def _check_parts(recipe: Recipe) -> None:
    """Build what needs no teacher, so that what does not fit is refused before one is trained."""
    from fastdfkd.experiment import check_method, initial_student, read_class_vectors

    check_method(recipe)
    initial_student(recipe)
    read_class_vectors(recipe)


def _settled_here(recipe: Recipe, teacher: Teacher) -> tuple[Recipe, list[str]]:
    """The recipe with a value for what follows from this cluster, and notes on the choices."""
    from fastdfkd.platform.placement import fitted_here

    notes = []
    if recipe.platform.synthesis_share == "auto":
        from fastdfkd.api.role_share import settled_here

        recipe, line = settled_here(recipe, teacher.model)
        notes.append(line)
    return fitted_here(recipe), notes


def _write_inputs(recipe: Recipe, teacher: Teacher, directory: Path) -> None:
    """Write what resuming the run needs; the recipe last: from then on it can be resumed."""
    write_teacher(teacher, directory)
    write_sources(recipe.source_texts(), directory)
    write_text(directory / "recipe.yaml", recipe.to_yaml())


def _connect(recipe: Recipe, address: str | None, connection: contextlib.ExitStack) -> None:
    """Connect to Ray until `connection` is closed, and check that the recipe fits the cluster."""
    from fastdfkd.platform import cluster

    meanwhile = partial(warm_up, recipe)
    connection.enter_context(cluster.connect(address, meanwhile=meanwhile))
    from fastdfkd.platform.placement import check_places

    check_places([recipe])


def _recorded_run(
    run: Callable[[Recipe, Teacher, Path, tracking.Recorder], RunResult],
    recipe: Recipe,
    teacher: Teacher,
    directory: Path,
    recorder: tracking.Recorder,
    complete: Callable[[RunResult], RunResult] | None,
) -> RunResult:
    """Run the pipeline, write `result.json` and finish the run in MLflow; see `execute`."""
    with recorder:
        result = run(recipe, teacher, directory, recorder)
        result = result.model_copy(update={"directory": directory})
        if complete is not None:
            result = complete(result)
        write_text(directory / "result.json", result.model_dump_json(indent=2) + "\n")
        recorder.finish(result)
    return result


def warm_up(recipe: Recipe) -> None:
    """Import torch, Ray Train and MLflow, which takes seconds, and create the MLflow store.

    Errors are ignored: they occur again where the parts are used, and are reported there.
    """
    with contextlib.suppress(Exception):
        import fastdfkd.platform.pipeline  # noqa: F401

        uri = tracking.store_uri(recipe.tracking.uri)
        tracking.open_store(uri, recipe.tracking.experiment)


def obtain_teacher(
    recipe: Recipe,
    *,
    model: nn.Module | None = None,
    progress: bool = False,
    before_work: Callable[[], None] | None = None,
) -> Teacher:
    """The teacher: `model`, or opened from weights, or cached, or trained with a progress bar.

    `before_work` is called before the teacher is trained, and before it is evaluated.
    """
    from fastdfkd.experiment import image_spec
    from fastdfkd.trainers.teacher import prepare_teacher

    device = _device(recipe)
    recipe = with_cuda_choices(recipe) if device == "cuda" else recipe
    label = f"teacher {recipe.teacher.model} on {image_spec(recipe).name}"
    with EpochProgress(label, recipe.teacher.epochs, shown=progress) as bar:

        def on_epoch(epoch: int, epochs: int, loss: float) -> None:
            bar.update(epoch, f"loss {loss:.3f}")

        return prepare_teacher(
            recipe,
            model=model,
            device=device,
            on_epoch=on_epoch,
            before_work=before_work,
        )


def write_teacher(teacher: Teacher, directory: Path, *, weights: bool = False) -> None:
    """Write `teacher.json`, which has the teacher's description and digest; optionally weights."""
    if weights:
        from fastdfkd.models import save_weights

        save_weights(directory / "teacher.safetensors", teacher.model)
    write_json(directory / "teacher.json", teacher.description)


def _device(recipe: Recipe) -> str:
    """Device on which this process trains or evaluates the teacher."""
    import torch

    if recipe.platform.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return recipe.platform.device
