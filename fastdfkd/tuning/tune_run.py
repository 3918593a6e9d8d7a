"""The part of a sweep that is Ray Tune's: searcher, scheduler, resources, and the trial log's pen.

Population-based training is not offered. It would copy a good trial's student, bank and generator
into a bad one in mid-run; then no point of the table is a run that its recipe alone can repeat.
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

from fastdfkd.addresses.credentials import for_another_process
from fastdfkd.platform.cluster import cluster_resources
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.report.table import share
from fastdfkd.trainers.teacher import Teacher
from fastdfkd.tuning.objective import Objective, parse_objectives
from fastdfkd.tuning.optuna_search import OptunaPoints
from fastdfkd.tuning.plan import Sweep, remaining
from fastdfkd.tuning.resources import concurrent_trials, most_costly, pinned_gpus
from fastdfkd.tuning.sweep_run import SweepRun
from fastdfkd.tuning.trial import DistillTrial, Shared
from fastdfkd.tuning.trial_log import TrialLog, TrialRecord, scalars
from fastdfkd.tuning.trial_names import TrialNames

Say = Callable[[str], None]
_ERROR_LINE = re.compile(r"[\w.]*(Error|Exception|Exit|Interrupt|Died)\b")
_TUNES_OWN = ("timestamp", "pid", "iterations_since_restore", "training_iteration", "time_")


def run_trials(
    sweep: Sweep, trial_log: TrialLog, teacher: Teacher, parent: SweepRun, say: Say
) -> None:
    """Run what the trial log does not have, on the cluster this process is connected to.

    Raises:
        PlacementError: the cluster is too small for one trial.
    """
    cluster = cluster_resources()
    recipe = pinned_gpus(sweep.recipe, cluster)
    cost = most_costly(_costed(sweep, recipe), cluster)
    together = concurrent_trials(cost, cluster)
    say(f"{sweep.trials} trials, {together} at a time: each takes {_shown(cost.total)}")
    objectives = parse_objectives(sweep.options.objective)
    shared = Shared(
        recipe=load_recipe(recipe, {"tracking.uri": parent.uri}),
        teacher=teacher,
        folder=sweep.folder,
        names=sweep.names,
        objectives=objectives,
        parent_run_id=parent.run_id,
    )
    trainable = tune.with_resources(
        tune.with_parameters(DistillTrial, shared=shared, login=for_another_process(parent.uri)),
        PlacementGroupFactory([cost.head]),
    )
    searching: dict[str, Any] = _searching(sweep, trial_log, objectives)
    tune.Tuner(
        trainable,
        param_space=searching.pop("param_space", None),
        tune_config=TuneConfig(
            scheduler=_scheduler(sweep, objectives[0]),
            max_concurrent_trials=together,
            reuse_actors=True,
            trial_name_creator=partial(_folder, sweep.names),
            trial_dirname_creator=partial(_folder, sweep.names),
            **searching,
        ),
        run_config=RunConfig(
            name="ray_tune",
            storage_path=str(sweep.folder),
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),  # the run writes its own
            callbacks=[_Pen(trial_log, sweep, say)],
            failure_config=FailureConfig(max_failures=0, fail_fast=False),
            verbose=0,
        ),
    ).fit()


def _searching(
    sweep: Sweep, trial_log: TrialLog, objectives: tuple[Objective, ...]
) -> dict[str, Any]:
    """Where the trials come from."""
    if sweep.points is not None:
        trials = remaining(sweep, trial_log.done())
        return {"param_space": {"trial": tune.grid_search(trials)}}
    done = trial_log.done()
    searcher = OptunaPoints(
        sweep.space,
        sweep.recipe.flat(),
        objectives,
        points=sweep.options.trials,
        seeds=sweep.seeds,
        done=done,
        search_seed=sweep.recipe.seed,
    )
    return {"search_alg": searcher, "num_samples": sweep.trials - len(done)}


def _scheduler(sweep: Sweep, objective: Objective) -> Any:
    """FIFO, or ASHA over evaluations: the better half goes on at every rung."""
    if sweep.options.scheduler == "fifo":
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    evaluations = sweep.recipe.platform.evaluations
    return AsyncHyperBandScheduler(
        time_attr="training_iteration",
        metric=objective.name,
        mode=objective.mode,
        grace_period=max(evaluations // 5, 1),
        reduction_factor=2,
        max_t=evaluations + 2,  # past the run's own end, which is one report after the last
    )


def _costed(sweep: Sweep, recipe: Recipe) -> list[Recipe]:
    """Recipes whose resources stand for all trials."""
    points = sweep.points
    if points is None:
        points = [point for _, point in sweep.space.probes()]
    return [load_recipe(recipe, point) for point in points]


class _Pen(Callback):
    """Writes a line of the trial log when a trial ends."""

    def __init__(self, trial_log: TrialLog, sweep: Sweep, say: Say) -> None:
        self._ledger, self._sweep, self._say = trial_log, sweep, say
        self._ended = len(trial_log.done())

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ran to its end, or was stopped by the scheduler."""
        finished = bool((trial.last_result or {}).get("finished"))
        self._write(trial, "finished" if finished else "stopped")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial raised; the others go on."""
        self._write(trial, "failed", error=_reason(trial))

    def _write(self, trial: Any, status: Any, error: str = "") -> None:
        config = trial.config["trial"]
        result = trial.last_result or {}
        own = {key: value for key, value in result.items() if key not in ("config", "done")}
        figures = {
            key: value for key, value in scalars(own).items() if not key.startswith(_TUNES_OWN)
        }
        index, seed = int(config["index"]), int(config["seed"])
        folder = self._sweep.folder / "trials" / _folder(self._sweep.names, trial)
        record = TrialRecord(
            index=index,
            seed=seed,
            point=config["point"],
            status=status,
            figures=figures,
            evaluations=int(result.get("training_iteration", 0)) - (status == "finished"),
            error=error,
            directory=str(folder),
        )
        self._ledger.append(record)
        self._ended += 1
        self._say(f"{self._ended} of {self._sweep.trials}: {_line(self._sweep.names, record)}")


def _line(names: TrialNames, record: TrialRecord) -> str:
    figures = record.figures
    found = record.error
    if "synthesis_seconds" in figures:
        found = (
            f"accuracy {share(figures.get('accuracy'))}, "
            f"{figures['synthesis_seconds']:.1f} s synthesis, "
            f"{figures['end_to_end_seconds']:.1f} s end to end {found}"
        )
    return f"{names.trial(record.point, record.seed)} {record.status}: {found}".rstrip()


def _reason(trial: Any) -> str:
    """What the trial raised: the last error of the traceback that Tune keeps, its first line."""
    path = trial.error_file
    text = Path(path).read_text(encoding="utf-8") if path and Path(path).is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR_LINE.match(line)]
    return (errors or lines or ["unknown"])[-1]


def _folder(names: TrialNames, trial: Any) -> str:
    config = trial.config["trial"]
    return names.folder(int(config["index"]), config["point"], int(config["seed"]))


def _shown(resources: dict[str, float]) -> str:
    return ", ".join(f"{share:g} {kind}" for kind, share in resources.items())
