"""START HERE: one distillation run, from the recipe to the result.

    place -> bank -> synthesizers -> fit -> finish

Lock-step and asynchronous runs are the same calls: they differ in the bank's rate limiter alone.
A resumed run is the same calls too: bank, board and roles start from a checkpoint.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from fastdfkd.experiment import Experiment
from fastdfkd.platform import cluster, head
from fastdfkd.platform.actors import RunActors, start
from fastdfkd.platform.dispatcher import Dispatcher
from fastdfkd.platform.finish import finish
from fastdfkd.platform.monitor import Monitor
from fastdfkd.platform.placement import Plan, check_memory, planned, reserved
from fastdfkd.platform.resume_state import ResumeState
from fastdfkd.platform.stopping import stopping
from fastdfkd.recipe import Recipe
from fastdfkd.recipe.policies import BankPolicies
from fastdfkd.runs.result import RunResult
from fastdfkd.trainers.checkpoint import Checkpoint, CheckpointFolder
from fastdfkd.trainers.student import StudentJob, train_student

if TYPE_CHECKING:
    from fastdfkd.tracking import Recorder
    from fastdfkd.trainers.teacher import Teacher

log = logging.getLogger(__name__)

ABORT_SECONDS = 5.0
"""How long an interrupted run waits for Ray Train to end its workers."""


def run(
    recipe: Recipe,
    teacher: Teacher,
    directory: Path,
    recorder: Recorder,
    *,
    checkpoint: Checkpoint | None = None,
    stop: threading.Event | None = None,
) -> RunResult:
    """Compress `teacher` as `recipe` says, on the Ray cluster this process is connected to.

    Writes `checkpoints/`, `student.safetensors` and `samples.png` into `directory`; progress goes
    to `recorder`. With a `checkpoint` of the same run it goes on from there. Once `stop` is set the
    run ends within seconds.

    Raises:
        PlacementError: the cluster cannot give what the recipe asks for.
        ValueError: the teacher, the student or the data set do not fit.
        FloatingPointError: synthesis or the student's training diverged.
        RunStopped: `stop` was set.
        HeadLost: the cluster's head has gone.
    """
    began, platform = time.monotonic(), recipe.platform
    plan = planned(recipe)
    experiment = Experiment.of(recipe, teacher.model, plan.device)
    check_memory(plan, recipe.capacity * math.prod(experiment.spec.shape))
    log.info("bank: %s", BankPolicies.of(recipe))
    point = ResumeState.of(experiment, checkpoint)
    checkpoints = CheckpointFolder(directory, checkpoint)
    placed = reserved(plan, platform.start_timeout_s)
    with placed as group, start(experiment, plan, group, point) as cast:
        history = point.past(recipe)
        dispatcher = Dispatcher(
            cast.bank,
            cast.board,
            cast.synthesizers,
            history,
            point.totals,
            states=point.synthesizers if platform.schedule == "lockstep" else None,
        )
        monitor = Monitor(cast.board, dispatcher, recorder, checkpoints, cast.restore_board, recipe)
        watched = head.watched(directory, dispatcher.end, ours=cluster.is_ours())
        with watched, dispatcher, monitor, stopping(stop, dispatcher):
            fit(cast, plan, recipe, directory, dispatcher)
        if dispatcher.error is not None:
            raise dispatcher.error
        if monitor.outcome is None:
            raise RuntimeError("training ended without a word of its result: see the log above")
        images = history.newest_images()
    notes = [*experiment.notes, *dispatcher.notes]
    totals, outcome = dispatcher.totals, monitor.outcome
    return finish(recipe, teacher, directory, totals, outcome, images, began, notes)


def fit(
    cast: RunActors, plan: Plan, recipe: Recipe, directory: Path, dispatcher: Dispatcher
) -> None:
    """Train the student to its last update; raises what stopped either role."""
    job = StudentJob(
        bank=cast.bank, board=cast.board, device=plan.device, threads=plan.threads(plan.worker)
    )
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(recipe.platform.start_timeout_s)
    failures = recipe.platform.most_worker_failures
    trainer = _Trainer(
        train_student,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(
            num_workers=plan.workers,
            use_gpu=plan.device == "cuda",
            resources_per_worker=dict(plan.worker) if plan.workers else None,
        ),
        run_config=RunConfig(
            name=f"ray_train/{time.time_ns()}",
            storage_path=str(directory.absolute()),
            failure_config=FailureConfig(
                max_failures=failures,
                controller_failure_limit=failures,  # type: ignore[call-arg]  # of a starting worker
            ),
        ),
    )
    try:
        trainer.fit()
    except (KeyboardInterrupt, SystemExit):
        trainer.abort()
        raise
    except Exception as error:
        if dispatcher.error is not None:
            raise dispatcher.error from error
        raise
    if dispatcher.error is not None:
        raise dispatcher.error


class _Trainer(TorchTrainer):
    """Ray Train's, which leaves Ctrl-C to the program: its own handler ends with SystemExit 0."""

    controller: Any = None
    """The actor that holds the workers, once there are any."""

    def _register_sigint_handler(self, controller: Any) -> None:
        """Put no handler in place; keep whom it would have told."""
        self.controller = controller

    def abort(self) -> None:
        """End the workers, whom nobody would end in a Ray that goes on after this run."""
        if self.controller is not None:
            with contextlib.suppress(RayError):
                ray.get(self.controller.abort.remote(), timeout=ABORT_SECONDS)
