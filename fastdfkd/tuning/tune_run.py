"""The Ray Tune part of a sweep: searcher, scheduler, resources, and the callback that logs trials.

Population-based training is not supported. It copies the student, bank and generator of a good
trial into a bad one during the run. Then the recipe of a point would not reproduce its result.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from ray.tune.execution.placement_groups import PlacementGroupFactory
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from ray.tune.search import Searcher

from fastdfkd.addresses.credentials import subprocess_variables
from fastdfkd.models import SourceFile, source_files
from fastdfkd.platform.cluster import cluster_resources
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.report.table import share
from fastdfkd.runs.figures import FIGURES, main_figure
from fastdfkd.trainers.teacher import Teacher
from fastdfkd.tuning.list_search import ListSearcher
from fastdfkd.tuning.objective import Objective, parse_objectives
from fastdfkd.tuning.optuna_search import OptunaSearcher
from fastdfkd.tuning.plan import Sweep, remaining
from fastdfkd.tuning.point_recipes import PointRecipes
from fastdfkd.tuning.resources import concurrent_trials, most_costly, pinned_gpus
from fastdfkd.tuning.sweep_run import SweepRun
from fastdfkd.tuning.trial import DistillTrial, TrialContext
from fastdfkd.tuning.trial_log import TrialLog, TrialRecord, scalars
from fastdfkd.tuning.trial_names import TrialNames

Say = Callable[[str], None]
_ERROR_LINE = re.compile(r"[\w.]*(Error|Exception|Exit|Interrupt|Died)\b")
_TUNE_KEYS = ("timestamp", "pid", "iterations_since_restore", "training_iteration", "time_")
"""Beginnings of the keys that Tune adds to a result."""


def run_trials(
    sweep: Sweep,
    trial_log: TrialLog,
    teacher: Teacher,
    parent: SweepRun,
    say: Say,
    *,
    deadline: float | None = None,
) -> None:
    """Run the trials that are not in the trial log, on the connected Ray cluster.

    Args:
        sweep: what to run.
        trial_log: of the sweep.
        teacher: of all trials.
        parent: MLflow run of the sweep.
        say: called with each progress message.
        deadline: see `ListSearcher`.

    Raises:
        PlacementError: the cluster is too small for one trial.
    """
    cluster = cluster_resources()
    recipes = sweep.recipes.each(lambda recipe: pinned_gpus(recipe, cluster))
    placed = _recipes_to_place(sweep, recipes)
    cost = most_costly(placed, cluster)
    concurrent = concurrent_trials(cost, cluster)
    say(f"{sweep.trials} trials, {concurrent} at a time: each uses {_resource_text(cost.total)}")
    objectives = parse_objectives(sweep.options.objective)
    context = TrialContext(
        files=_files(recipes.base, *placed),
        recipes=recipes.each(lambda recipe: load_recipe(recipe, {"tracking.uri": parent.uri})),
        teacher=teacher,
        folder=sweep.folder,
        names=sweep.names,
        objectives=objectives,
        parent_run_id=parent.run_id,
    )
    trainable = tune.with_resources(
        tune.with_parameters(DistillTrial, context=context, login=subprocess_variables(parent.uri)),
        PlacementGroupFactory([cost.head]),
    )
    searcher, number = _search(sweep, trial_log, objectives, deadline)
    tune.Tuner(
        trainable,
        tune_config=TuneConfig(
            search_alg=searcher,
            num_samples=number,
            scheduler=_scheduler(sweep, objectives[0]),
            max_concurrent_trials=concurrent,
            reuse_actors=True,
            trial_name_creator=partial(_trial_folder, sweep.names),
            trial_dirname_creator=partial(_trial_folder, sweep.names),
        ),
        run_config=_run_config(sweep.folder, _TrialLogger(trial_log, sweep, say)),
    ).fit()


def _run_config(folder: Path, callback: Callback) -> RunConfig:
    """How Ray Tune runs the trials: quietly, each once, without checkpoints of its own."""
    return RunConfig(
        name="ray_tune",
        storage_path=str(folder),
        checkpoint_config=CheckpointConfig(checkpoint_at_end=False),  # the run writes its own
        callbacks=[callback],
        failure_config=FailureConfig(max_failures=0, fail_fast=False),
        verbose=0,
    )


def check_places(sweep: Sweep) -> None:
    """Check that the connected cluster is large enough for every trial.

    Raises:
        PlacementError: it is too small for one of them.
    """
    cluster = cluster_resources()
    recipes = sweep.recipes.each(lambda recipe: pinned_gpus(recipe, cluster))
    most_costly(_recipes_to_place(sweep, recipes), cluster)


def _files(*recipes: Recipe) -> tuple[SourceFile, ...]:
    """All Python files that the recipes name, each once."""
    return tuple(dict.fromkeys(file for recipe in recipes for file in source_files(recipe)))


def _search(
    sweep: Sweep,
    trial_log: TrialLog,
    objectives: tuple[Objective, ...],
    deadline: float | None,
) -> tuple[Searcher, int]:
    """What chooses the trials, and their number: a fixed list, or Optuna."""
    done = trial_log.done()
    if sweep.points is not None:
        trials = remaining(sweep, done)
        return ListSearcher(trials, deadline), len(trials)
    searcher = OptunaSearcher(
        sweep.space,
        sweep.recipe.flat(),
        objectives,
        points=sweep.options.trials,
        seeds=sweep.seeds,
        done=done,
        search_seed=sweep.recipe.seed,
    )
    return searcher, sweep.trials - len(done)


def _scheduler(sweep: Sweep, objective: Objective) -> Any:
    """FIFO, or ASHA over evaluations: the better half continues at each rung."""
    if sweep.options.scheduler == "fifo":
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    evaluations = sweep.recipe.platform.evaluations
    return AsyncHyperBandScheduler(
        time_attr="training_iteration",
        metric=objective.name,
        mode=objective.mode,
        grace_period=max(evaluations // 5, 1),
        reduction_factor=2,
        max_t=evaluations + 2,  # a run ends by itself: one report after its last evaluation
    )


def _recipes_to_place(sweep: Sweep, recipes: PointRecipes) -> list[Recipe]:
    """Recipes of all points, or of the boundary points if Optuna chooses the points."""
    points = sweep.points
    if points is None:
        points = [point for _, point in sweep.space.boundary_points()]
    return [recipes.at(point) for point in points]


class _TrialLogger(Callback):
    """Appends to the trial log when a trial ends."""

    def __init__(self, trial_log: TrialLog, sweep: Sweep, say: Say) -> None:
        self._trial_log, self._sweep, self._say = trial_log, sweep, say
        self._ended = len(trial_log.done())

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Log a trial that finished or that the scheduler stopped."""
        finished = bool((trial.last_result or {}).get("finished"))
        self._append(trial, "finished" if finished else "stopped")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Log a trial that failed. The other trials continue."""
        self._append(trial, "failed", error=_error_line(trial))

    def _append(self, trial: Any, status: Any, error: str = "") -> None:
        config = trial.config["trial"]
        result = trial.last_result or {}
        reported = {key: value for key, value in result.items() if key not in ("config", "done")}
        figures = {
            key: value for key, value in scalars(reported).items() if not key.startswith(_TUNE_KEYS)
        }
        index, seed = int(config["index"]), int(config["seed"])
        folder = self._sweep.folder / "trials" / _trial_folder(self._sweep.names, trial)
        record = TrialRecord(
            index=index,
            seed=seed,
            point=config["point"],
            status=status,
            figures=figures,
            evaluations=int(result.get("training_iteration", 0)) - (status == "finished"),
            warnings=str(result.get("warnings", "")),
            error=error,
            directory=str(folder),
        )
        self._trial_log.append(record)
        self._ended += 1
        self._say(f"{self._ended} of {self._sweep.trials}: {_summary(self._sweep.names, record)}")


def _summary(names: TrialNames, record: TrialRecord) -> str:
    """One line about a trial: name, status, figures and error."""
    figures = record.figures
    text, name = record.error, main_figure(figures)
    if "synthesis_seconds" in figures:
        text = (
            f"{FIGURES[name].name} {share(figures.get(name))}, "
            f"{figures['synthesis_seconds']:.1f} s synthesis, "
            f"{figures['end_to_end_seconds']:.1f} s end to end {text}"
        )
    return f"{names.trial(record.point, record.seed)} {record.status}: {text}".rstrip()


def _error_line(trial: Any) -> str:
    """First line of the last error in the traceback that Tune keeps for a trial."""
    path = trial.error_file
    text = Path(path).read_text(encoding="utf-8") if path and Path(path).is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR_LINE.match(line)]
    return (errors or lines or ["unknown"])[-1]


def _trial_folder(names: TrialNames, trial: Any) -> str:
    config = trial.config["trial"]
    return names.folder(int(config["index"]), config["point"], int(config["seed"]))


def _resource_text(resources: dict[str, float]) -> str:
    return ", ".join(f"{share:g} {kind}" for kind, share in resources.items())
