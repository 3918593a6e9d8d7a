"""One trial: a whole distillation run inside Ray Tune's actor, a step an evaluation.

A class trainable, not a function: inside a function trainable `ray.train.report`, which the
student's loop calls, is refused. What a trial places (actors, a placement group) it gives back
itself, in `cleanup`, before Tune is told that it ended; so the next trial finds the cluster free.
The actor is used for one trial after another, which saves importing torch and MLflow each time.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from fastdfkd import tracking
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.runs.folder import claimed, write_text
from fastdfkd.runs.metrics import JUDGED, Row, is_evaluation
from fastdfkd.runs.result import RunResult
from fastdfkd.tracking.run import TrackedRun
from fastdfkd.tracking.store import open_store, store_uri
from fastdfkd.trainers.teacher import Teacher
from fastdfkd.tuning.objective import Judge, Objective
from fastdfkd.tuning.trial_log import scalars
from fastdfkd.tuning.trial_names import TrialNames

log = logging.getLogger(__name__)
_GIVE_UP_SECONDS = 60.0
_REMNANT_SECONDS = 60.0
"""For the same trial's actor of a driver that was killed: Ray ends it within seconds."""
_FIGURES = (
    *JUDGED,
    "images",
    "updates",
    "synthesis_seconds",
    "distillation_seconds",
    "end_to_end_seconds",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Shared:
    """What every trial of a sweep is given."""

    recipe: Recipe
    teacher: Teacher
    folder: Path
    """Of the sweep, absolute."""
    names: TrialNames
    objectives: tuple[Objective, ...]
    parent_run_id: str


class DistillTrial(tune.Trainable):
    """Runs the recipe at `config["point"]` with `config["seed"]`."""

    def setup(
        self,
        config: dict[str, Any],
        shared: Shared | None = None,
        login: dict[str, str] | None = None,
    ) -> None:
        """Start the run in a thread of its own; `login` reaches the MLflow store."""
        assert shared is not None
        os.environ.update(login or {})
        self._shared = shared
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start the next trial in the same actor; False asks Tune for a new actor."""
        if not self._end():
            return False
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next evaluation, or for the end of the run.

        Raises:
            Exception: what the run raised.
        """
        event = self._run.events.get()
        if isinstance(event, BaseException):
            raise event
        return dict(event)

    def cleanup(self) -> None:
        """End the run and give back what it holds."""
        self._end()

    def _begin(self, config: dict[str, Any]) -> None:
        self._run = _Run(self._shared, config["trial"])
        self._run.thread.start()

    def _end(self) -> bool:
        self._run.stop.set()
        self._run.thread.join(_GIVE_UP_SECONDS)
        if self._run.thread.is_alive():
            log.warning("the trial did not end within %g s: its actor goes", _GIVE_UP_SECONDS)
        return not self._run.thread.is_alive()


class _Run:
    """The run of one trial, and what it has to say, in order."""

    def __init__(self, shared: Shared, trial: dict[str, Any]) -> None:
        self.shared = shared
        seed = int(trial["seed"])
        self.point = trial["point"]
        self.name = shared.names.trial(self.point, seed)
        self.folder = shared.names.folder(int(trial["index"]), self.point, seed)
        self.seed = seed
        self.stop = threading.Event()
        self.events: queue.SimpleQueue[dict[str, Any] | BaseException] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        self._judge = Judge(shared.objectives)

    def _work(self) -> None:
        try:
            self.events.put(self._execute())
        except BaseException as error:  # raised again by `step`, in Tune's thread
            self.events.put(error)

    def _execute(self) -> dict[str, Any]:
        from fastdfkd.platform import cluster

        recipe = load_recipe(self.shared.recipe, {**self.point, "seed": self.seed})
        folder = self.shared.folder / "trials" / self.folder
        with claimed(recipe.name, folder, overwrite=True, wait_s=_REMNANT_SECONDS) as directory:
            write_text(directory / "recipe.yaml", recipe.to_yaml())
            with cluster.connect(None):
                result = self._record(recipe, directory)
        figures = scalars(result.model_dump())
        return {**self._report(figures), "finished": True, "done": True}

    def _record(self, recipe: Recipe, directory: Path) -> RunResult:
        from fastdfkd.api.execution import write_teacher
        from fastdfkd.platform import pipeline
        from fastdfkd.platform.stopping import RunStopped

        write_teacher(self.shared.teacher, directory)
        recorder = tracking.Recorder(
            recipe,
            directory,
            run_name=self.name,
            parent_run_id=self.shared.parent_run_id,
            progress=self._on_row,
        )
        try:
            with recorder:
                result = pipeline.run(
                    recipe, self.shared.teacher, directory, recorder, stop=self.stop
                )
                write_text(directory / "result.json", result.model_dump_json(indent=2) + "\n")
                recorder.finish(result)
        except RunStopped:
            _mark_stopped(recipe, recorder.run_id)
            raise
        return result

    def _on_row(self, row: Row) -> None:
        if is_evaluation(row):
            self.events.put({**self._report(row), "finished": False})

    def _report(self, row: Row) -> dict[str, float]:
        known = {name: float(row[name]) for name in _FIGURES if name in row}
        return {**known, **self._judge(known)}


def _mark_stopped(recipe: Recipe, run_id: str) -> None:
    """Tell MLflow that the run was stopped on purpose, not that it failed."""
    run = TrackedRun(open_store(store_uri(recipe.tracking.uri), recipe.tracking.experiment), run_id)
    run.log_tags({"stopped_by": "scheduler"})
    run.end("KILLED")
