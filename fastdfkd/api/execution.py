"""Runs a recipe from start to result: teacher, cluster, recorder, pipeline, files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd import tracking
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.recipe.device_choices import with_cuda_choices
from fastdfkd.recipe.source_texts import given
from fastdfkd.report.progress import EpochProgress, RunProgress
from fastdfkd.runs.folder import read_json, write_json, write_text
from fastdfkd.runs.result import RunResult
from fastdfkd.runs.source_texts import write_sources
from fastdfkd.text.shown import shown, shown_name

if TYPE_CHECKING:
    from torch import nn

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
    from fastdfkd.experiment import check_method, initial_student, read_class_vectors

    use_fallback_cache(directory / "cache")
    # The text of a Python file is read once: it may be edited while the run starts.
    with given(recipe.source_texts()), contextlib.ExitStack() as connection:
        # What does not fit is refused before a teacher is trained.
        check_method(recipe)
        initial_student(recipe)
        read_class_vectors(recipe)
        teacher = obtain_teacher(
            with_trained_precision(recipe, directory) if resume else recipe,
            model=model,
            progress=progress,
            before_work=partial(_connect, recipe, address, connection),
        )
        checkpoint = checkpoint_to_resume(recipe, teacher, directory) if resume else None
        from fastdfkd.platform import pipeline, placement

        notes = []
        if recipe.platform.synthesis_share == "auto":
            from fastdfkd.api.role_share import settled_here

            recipe, line = settled_here(recipe, teacher.model)
            notes.append(line)
        recipe = placement.fitted_here(recipe)
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
            run = partial(
                pipeline.run,
                checkpoint=checkpoint,
                images_only=images_only,
                notes=notes,
            )
            return _recorded_run(run, recipe, teacher, directory, recorder, complete)


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
    earlier = {key: _default(recipe, key) for key in now} | dict(
        earlier
    )  # an older version had fewer keys
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
