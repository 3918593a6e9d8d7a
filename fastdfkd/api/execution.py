"""One run from recipe to result: teacher, cluster, recorder, pipeline, files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd import tracking
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.report.progress import EpochProgress, RunProgress
from fastdfkd.runs.folder import read_json, write_json, write_text
from fastdfkd.runs.result import RunResult
from fastdfkd.text.shown import shown, shown_name

if TYPE_CHECKING:
    from torch import nn

    from fastdfkd.trainers.checkpoint import Checkpoint
    from fastdfkd.trainers.teacher import Teacher

_MAY_CHANGE = (
    "description",
    "data.root",
    "teacher.weights",
    "tracking.",
    "platform.device",
    "platform.workers",
    "platform.cpus_per",
    "platform.gpus_per",
    "platform.cuda_graphs",
    "platform.evaluations",
    "platform.checkpoint_every",
    "platform.most_worker_failures",
    "platform.start_timeout_s",
    "platform.autoscale_timeout_s",
)
"""Keys, or their beginnings, that a resumed run may have other values for than when it began."""


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
) -> RunResult:
    """Run a recipe in a claimed folder; what is raised is said at `api.distill`.

    Args:
        recipe: what to run.
        directory: where its files go.
        address: Ray cluster to join.
        model: the user's own teacher.
        parent_run_id: MLflow run above this one.
        progress: show a bar.
        run_name: in MLflow and on the bar.
        complete: adds to the result (speed-ups) before it is written and recorded.
        resume: go on from the newest whole checkpoint in the folder, or from the beginning.
    """
    tracking.check_reachable(tracking.store_uri(recipe.tracking.uri))
    from fastdfkd.data import cache_somewhere
    from fastdfkd.experiment import initial_student
    from fastdfkd.platform import cluster

    cache_somewhere(directory / "cache")
    initial_student(recipe)  # which may not fit: told before a teacher is trained for it
    began_with = as_it_began(recipe, directory) if resume else recipe
    teacher = obtain_teacher(began_with, model=model, progress=progress)
    checkpoint = checkpoint_to_resume(recipe, teacher, directory) if resume else None
    with cluster.connect(address, meanwhile=partial(warm_up, recipe)):
        from fastdfkd.platform import pipeline, placement

        label = run_name or recipe.name
        recipe = placement.fitted_here(recipe)
        write_teacher(teacher, directory)
        write_text(directory / "recipe.yaml", recipe.to_yaml())  # last: now it can be resumed
        with (
            RunProgress(recipe, label, shown=progress) as bar,
            tracking.Recorder(
                recipe,
                directory,
                run_name=label,
                parent_run_id=parent_run_id,
                progress=bar,
                resume_at=(checkpoint.updates if checkpoint else 0) if resume else None,
            ) as recorder,
        ):
            result = pipeline.run(recipe, teacher, directory, recorder, checkpoint=checkpoint)
            result = result.model_copy(update={"directory": directory})
            if complete is not None:
                result = complete(result)
            write_text(directory / "result.json", result.model_dump_json(indent=2) + "\n")
            recorder.finish(result)
    return result


def warm_up(recipe: Recipe) -> None:
    """Import what takes seconds, torch, Ray Train and MLflow, and make MLflow's store.

    What fails here fails again where it is needed, and is said there.
    """
    with contextlib.suppress(Exception):
        import fastdfkd.platform.pipeline  # noqa: F401

        uri = tracking.store_uri(recipe.tracking.uri)
        tracking.open_store(uri, recipe.tracking.experiment)


def obtain_teacher(
    recipe: Recipe, *, model: nn.Module | None = None, progress: bool = False
) -> Teacher:
    """The recipe's teacher: given, opened, cached or trained, with a bar over its epochs."""
    from fastdfkd.experiment import image_spec
    from fastdfkd.trainers.teacher import prepare_teacher

    label = f"teacher {recipe.teacher.model} on {image_spec(recipe).name}"
    with EpochProgress(label, recipe.teacher.epochs, shown=progress) as bar:

        def on_epoch(epoch: int, epochs: int, loss: float) -> None:
            bar.update(epoch, f"loss {loss:.3f}")

        return prepare_teacher(recipe, model=model, device=_device(recipe), on_epoch=on_epoch)


def as_it_began(recipe: Recipe, directory: Path) -> Recipe:
    """The recipe with the precision in which its teacher was trained: `auto` may mean another here.

    Args:
        recipe: of the run.
        directory: of the run; a folder that does not say is told of by `check_same_teacher`.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        precision = read_json(directory / "teacher.json")["training"]["precision"]
        return load_recipe(recipe, {"teacher.precision": precision})
    return recipe


def checkpoint_to_resume(recipe: Recipe, teacher: Teacher, directory: Path) -> Checkpoint | None:
    """The newest whole checkpoint of the run in a folder; None where it begins anew.

    Raises:
        ValueError: the run began with another teacher or another recipe.
    """
    from fastdfkd.trainers.checkpoint import CheckpointFolder

    check_same_teacher(teacher, directory)
    checkpoint = CheckpointFolder(directory).newest()
    if checkpoint is not None:
        check_same_recipe(recipe, checkpoint.state["recipe"], directory)
    return checkpoint


def check_same_teacher(teacher: Teacher, directory: Path) -> None:
    """A run goes on with the teacher it began with.

    Raises:
        ValueError: it is another one, or the folder does not say.
    """
    path = directory / "teacher.json"
    try:
        digest = str(read_json(path)["digest"])
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} does not say which teacher the run began with: {error}"
        ) from error
    if digest != teacher.digest:
        raise ValueError(
            f"{path} says that the run began with the teacher {digest:.12}, this one is "
            f"{teacher.digest:.12}: give the same weights, or start a new run"
        )


def check_same_recipe(recipe: Recipe, earlier: Mapping[str, Any], directory: Path) -> None:
    """A run goes on with the recipe it began with; where it runs may have changed.

    Raises:
        ValueError: `recipe.yaml` was edited since, in what the images or the student follow from.
    """
    now = recipe.flat()
    earlier = {key: _default(recipe, key) for key in now} | dict(earlier)  # of a version before
    changed = [
        f"{shown_name(key)} was {shown(earlier[key])} and is {shown(now.get(key))}"
        for key in sorted(earlier)
        if earlier[key] != now.get(key) and not key.startswith(_MAY_CHANGE)
    ]
    if changed:
        raise ValueError(
            f"{directory / 'recipe.yaml'} was changed since the run's last checkpoint: "
            f"{'; '.join(changed)}. Put that back to go on, or start a new run in another folder"
        )


def _default(recipe: Recipe, key: str) -> Any:
    """What a key of a recipe is where nobody says it."""
    section, _, name = key.partition(".")
    fields = type(getattr(recipe, section) if name else recipe).model_fields
    field = fields.get(name or section)  # none for an entry of a mapping
    return field.default if field else None


def write_teacher(teacher: Teacher, directory: Path, *, weights: bool = False) -> None:
    """Write `teacher.json`: what the teacher was, with its digest; and its weights if asked."""
    if weights:
        from fastdfkd.models import save_weights

        save_weights(directory / "teacher.safetensors", teacher.model)
    write_json(directory / "teacher.json", teacher.description)


def _device(recipe: Recipe) -> str:
    """Where this process trains or judges the teacher."""
    import torch

    if recipe.platform.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return recipe.platform.device
