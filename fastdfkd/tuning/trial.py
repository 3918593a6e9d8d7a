"""One trial: a whole distillation run in a Ray Tune actor. One Tune step is one evaluation.

The trial is a class trainable: a function trainable does not allow `ray.train.report`, which the
student's training loop calls. A trial creates actors and a placement group. It removes them in
`cleanup`, before Tune sees the end of the trial, so that the next trial finds the resources free.
One actor runs many trials in turn, which saves the import of torch and MLflow for each.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from fastdfkd import tracking
from fastdfkd.models import SourceFile
from fastdfkd.recipe import Recipe
from fastdfkd.recipe.source_texts import given
from fastdfkd.runs.folder import claim_folder, write_text
from fastdfkd.runs.metrics import JUDGED, Row, is_evaluation
from fastdfkd.runs.result import RunResult
from fastdfkd.runs.source_texts import write_sources
from fastdfkd.tracking.run import TrackedRun
from fastdfkd.tracking.store import open_store, store_uri
from fastdfkd.trainers.teacher import Teacher
from fastdfkd.tuning.objective import Objective, ObjectiveTracker
from fastdfkd.tuning.point_recipes import PointRecipes
from fastdfkd.tuning.trial_log import scalars
from fastdfkd.tuning.trial_names import TrialNames

log = logging.getLogger(__name__)
_JOIN_TIMEOUT_S = 60.0
_FOLDER_TIMEOUT_S = 60.0
"""Longest wait for the folder's lock. After a driver was killed, the actor of the same trial holds
it until Ray ends that actor, which takes seconds."""
_FIGURES = (
    *JUDGED,
    "images",
    "updates",
    "synthesis_seconds",
    "distillation_seconds",
    "end_to_end_seconds",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialContext:
    """What all trials of a sweep share."""

    files: tuple[SourceFile, ...]
    """Python files that the recipes name. They are unpickled first, because unpickling the teacher
    needs them."""
    recipes: PointRecipes
    teacher: Teacher
    folder: Path
    """Absolute path of the sweep's folder."""
    names: TrialNames
    objectives: tuple[Objective, ...]
    parent_run_id: str


class DistillTrial(tune.Trainable):
    """Runs the recipe of the point in `config["trial"]` with its seed."""

    def setup(
        self,
        config: dict[str, Any],
        context: TrialContext | None = None,
        login: dict[str, str] | None = None,
    ) -> None:
        """Start the run in its own thread.

        `login` holds environment variables with the credentials of the MLflow store.
        """
        assert context is not None
        os.environ.update(login or {})
        self._context = context
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start the next trial in this actor; False makes Tune create a new actor."""
        if not self._end():
            return False
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next evaluation or the end of the run; return its figures.

        Raises:
            Exception: the error of the run.
        """
        event = self._run.events.get()
        if isinstance(event, BaseException):
            raise event
        return dict(event)

    def cleanup(self) -> None:
        """End the run and free its resources."""
        self._end()

    def _begin(self, config: dict[str, Any]) -> None:
        self._run = _TrialRun(self._context, config["trial"])
        self._run.thread.start()

    def _end(self) -> bool:
        """Stop the run; whether its thread has ended."""
        self._run.stop.set()
        self._run.thread.join(_JOIN_TIMEOUT_S)
        if self._run.thread.is_alive():
            log.warning("the trial did not end within %g s: its actor is replaced", _JOIN_TIMEOUT_S)
        return not self._run.thread.is_alive()


class _TrialRun:
    """The run of one trial, in its own thread. Its results and its error go to `events`."""

    def __init__(self, context: TrialContext, trial: dict[str, Any]) -> None:
        self.context = context
        seed = int(trial["seed"])
        self.point = trial["point"]
        self.name = context.names.trial(self.point, seed)
        self.folder = context.names.folder(int(trial["index"]), self.point, seed)
        self.seed = seed
        self.stop = threading.Event()
        self.events: queue.SimpleQueue[dict[str, Any] | BaseException] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._thread_main, name=self.name, daemon=True)
        self._objectives = ObjectiveTracker(context.objectives)

    def _thread_main(self) -> None:
        try:
            self.events.put(self._execute())
        except BaseException as error:  # raised again by `step`, in Tune's thread
            self.events.put(error)

    def _execute(self) -> dict[str, Any]:
        from fastdfkd.platform import cluster

        recipe = self.context.recipes.at(self.point, {"seed": self.seed})
        folder = self.context.folder / "trials" / self.folder
        with claim_folder(
            recipe.name, folder, overwrite=True, wait_s=_FOLDER_TIMEOUT_S
        ) as directory:
            write_text(directory / "recipe.yaml", recipe.to_yaml())
            with given({file.path: file.text for file in self.context.files}):
                write_sources(recipe.source_texts(), directory)
                with cluster.connect(None):
                    result = self._run_pipeline(recipe, directory)
        figures = self._metrics(scalars(result.model_dump()))
        ends = {"finished": True, "done": True, "warnings": "\n".join(result.warnings)}
        return {**figures, **ends}

    def _run_pipeline(self, recipe: Recipe, directory: Path) -> RunResult:
        from fastdfkd.api.execution import write_teacher
        from fastdfkd.platform import pipeline
        from fastdfkd.platform.stopping import RunStopped

        write_teacher(self.context.teacher, directory)
        recorder: tracking.Recorder = tracking.Recorder(
            recipe,
            directory,
            run_name=self.name,
            parent_run_id=self.context.parent_run_id,
            progress=lambda row: self._on_row(row, recorder.warnings),
        )
        try:
            with recorder:
                result = pipeline.run(
                    recipe, self.context.teacher, directory, recorder, stop=self.stop
                )
                write_text(directory / "result.json", result.model_dump_json(indent=2) + "\n")
                recorder.finish(result)
        except RunStopped:
            _mark_stopped(recipe, recorder.run_id)
            raise
        return result

    def _on_row(self, row: Row, warnings: Sequence[str]) -> None:
        if is_evaluation(row):
            said = "\n".join(warnings)
            self.events.put({**self._metrics(row), "finished": False, "warnings": said})

    def _metrics(self, row: Row) -> dict[str, float]:
        """The figures that Tune gets: those of a row, and the objectives."""
        figures = {name: float(row[name]) for name in _FIGURES if name in row}
        return {**figures, **self._objectives(figures)}


def _mark_stopped(recipe: Recipe, run_id: str) -> None:
    """Set the MLflow run to KILLED: the scheduler stopped it, it did not fail."""
    run = TrackedRun(open_store(store_uri(recipe.tracking.uri), recipe.tracking.experiment), run_id)
    run.log_tags({"stopped_by": "scheduler"})
    run.end("KILLED")
