"""START HERE: one distillation run, from the recipe to the result.

    place -> bank -> synthesizers -> fit -> finish

Lock-step and asynchronous runs make the same calls and differ only in the bank's rate limiter.
A resumed run makes the same calls too: bank, board and actors start from a checkpoint.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from fastdfkd.core.collapse import CollapseWatch
from fastdfkd.data import NothingHeldOut
from fastdfkd.experiment import Experiment
from fastdfkd.platform import cluster, head
from fastdfkd.platform.actors import RunActors, start
from fastdfkd.platform.dispatcher import Dispatcher
from fastdfkd.platform.finish import finish
from fastdfkd.platform.monitor import Monitor
from fastdfkd.platform.object_store import use_of_group
from fastdfkd.platform.placement import Plan, check_memory, planned, reserved
from fastdfkd.platform.resume_state import ResumeState
from fastdfkd.platform.stopping import stopping
from fastdfkd.recipe import Recipe
from fastdfkd.recipe.policies import BankPolicies
from fastdfkd.runs.result import RunResult
from fastdfkd.trainers.bank_loader import BankClosed
from fastdfkd.trainers.checkpoint import Checkpoint, CheckpointFolder
from fastdfkd.trainers.image_keeper import ImageKeeper
from fastdfkd.trainers.started_images import StartedImages
from fastdfkd.trainers.student import StudentJob, train_student

if TYPE_CHECKING:
    from fastdfkd.tracking import Recorder
    from fastdfkd.trainers.teacher import Teacher

log = logging.getLogger(__name__)

ABORT_SECONDS = 5.0
"""Seconds that an interrupted run waits for Ray Train to end its workers."""


def run(
    recipe: Recipe,
    teacher: Teacher,
    directory: Path,
    recorder: Recorder,
    *,
    checkpoint: Checkpoint | None = None,
    stop: threading.Event | None = None,
    images_only: bool = False,
    notes: Sequence[str] = (),
) -> RunResult:
    """Distil `teacher` into a student as `recipe` says, on the connected Ray cluster.

    Writes `checkpoints/`, `student.safetensors` and `samples.png` into `directory` and sends
    progress rows to `recorder`. Given a `checkpoint` of the same run, continues from it. Ends
    within seconds once `stop` is set. With `images_only` no student is trained, and the last
    checkpoint has all images; `recipe` is then a result of `recipe.images_only`.
    The result has the `notes`, before its own.

    Raises:
        PlacementError: the cluster has fewer resources than the recipe asks for.
        ValueError: the teacher, the student and the data set do not fit together.
        FloatingPointError: synthesis or the student's training diverged.
        OSError: with `images_only`, the images cannot be written.
        RunStopped: `stop` was set.
        HeadLost: the cluster's head does not answer any more.
    """
    start_time, plan = time.monotonic(), planned(recipe)
    judge = NothingHeldOut() if images_only else None
    experiment = Experiment.of(recipe, teacher.model, plan.device, judge)
    started = _started_images(experiment, plan, checkpoint)
    experiment.facts().log()
    log.info("bank: %s", BankPolicies.of(recipe))
    resume = ResumeState.of(experiment, checkpoint, ray.get_runtime_context().get_node_id())
    checkpoints = CheckpointFolder(directory, checkpoint)
    reservation = reserved(plan, recipe.platform.start_timeout_s)
    with reservation as group, start(experiment, plan, group, resume) as actors:
        notes = [*notes, *_store_notes(experiment, group)]
        history = resume.driver_history(recipe)
        states = resume.synthesizers if recipe.platform.schedule == "lockstep" else None
        roles = actors.bank, actors.board, actors.synthesizers
        dispatcher = Dispatcher(*roles, history, resume.totals, states=states)
        watch = _collapse_watch(experiment, resume)
        board = actors.board, dispatcher, recorder, checkpoints, actors.restore_board
        monitor = Monitor(*board, recipe, watch, started.facts())
        head_watch = head.watch(directory, dispatcher.end, own=cluster.is_own())
        for note in (*notes, *experiment.notes):
            recorder.note(note)
        with head_watch, dispatcher, monitor, stopping(stop, dispatcher):
            if images_only:
                keep_images(actors, plan, dispatcher)
            else:
                fit(actors, plan, recipe, directory, dispatcher, started)
        outcome = _outcome(dispatcher, monitor)
        if images_only:
            monitor.write_last(outcome["trainer"])
        images = history.newest_images()
    without = ["images without a student: the adversarial term was off"] if images_only else []
    known = [*notes, *without, *experiment.notes, *started.notes]
    facts = {"notes": _all_notes(known, dispatcher, monitor, recipe), "warnings": watch.warnings}
    totals = dispatcher.totals
    result = finish(experiment, teacher, directory, totals, outcome, images, start_time, **facts)
    return result.model_copy(update=started.figures())


def _started_images(
    experiment: Experiment, plan: Plan, checkpoint: Checkpoint | None
) -> StartedImages:
    """The images with which the bank starts; the whole bank must fit into memory.

    Raises:
        ValueError: the run began with other images.
        PlacementError: a bank in memory would be larger than that.
    """
    recipe, shape = experiment.recipe, experiment.spec.shape
    started = StartedImages.of(recipe, shape)
    if checkpoint is not None:
        started.check_same(checkpoint.state.get("started"))
    if recipe.bank.location in ("device", "host"):
        check_memory(plan, (recipe.capacity + len(started)) * math.prod(shape))
    return started


def _store_notes(experiment: Experiment, group: Any) -> list[str]:
    """Log what the images take of the object stores; a note if that is more than fits."""
    use = use_of_group(experiment.recipe, math.prod(experiment.spec.shape), group)
    log.info("%s", use.line)
    return [use.line] if use.spilled else []


def _collapse_watch(experiment: Experiment, resume: ResumeState) -> CollapseWatch:
    """Looks out for collapsed images; it goes on from its state in the checkpoint."""
    settled = experiment.recipe.model_copy(update={"synthesis": experiment.synthesis})
    return CollapseWatch(settled, experiment.spec, resume.collapse)


def _all_notes(
    known: Sequence[str], dispatcher: Dispatcher, monitor: Monitor, recipe: Recipe
) -> list[str]:
    """What is known before the run; what synthesizers reported and `platform.use_idle` came to.

    Then what trainers reported, unless it has been said.
    """
    idle = dispatcher.totals.idle_notes() if recipe.platform.use_idle else []
    said = [*known, *dispatcher.notes, *idle]
    return said + [note for note in monitor.trainer_notes if note not in said]


def _outcome(dispatcher: Dispatcher, monitor: Monitor) -> dict[str, Any]:
    """What the trainer left on the board. Raises the error that ended the run, if one did."""
    if dispatcher.error is not None:
        raise dispatcher.error
    if monitor.outcome is None:
        raise RuntimeError("training ended without a result: see the log above")
    return monitor.outcome


def fit(
    actors: RunActors,
    plan: Plan,
    recipe: Recipe,
    directory: Path,
    dispatcher: Dispatcher,
    started: StartedImages,
) -> None:
    """Train the student to its last update; raise the first error of synthesis or training."""
    job = StudentJob(
        bank=actors.bank,
        board=actors.board,
        device=plan.device,
        threads=plan.threads(plan.worker),
        started=started.sent(),
    )
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(recipe.platform.start_timeout_s)
    if cluster.is_own():  # one node, which nobody takes away
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
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
                controller_failure_limit=failures,  # type: ignore[call-arg]  # workers cannot start
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


def keep_images(actors: RunActors, plan: Plan, dispatcher: Dispatcher) -> None:
    """Wait for the last round; raise the first error of synthesis."""
    try:
        ImageKeeper(actors.bank, actors.board, plan.device).run()
    except BankClosed as closed:
        log.info("synthesis ends early: %s", closed)
    if dispatcher.error is not None:
        raise dispatcher.error


class _Trainer(TorchTrainer):
    """`TorchTrainer` without its Ctrl-C handler, which would end the program with exit code 0.

    In a cluster of its own it also starts no processes that watch over resources which end with
    this one: each would import Ray Train while the workers start.
    """

    controller: Any = None
    """Ray Train's controller actor, which manages the workers; None before they start."""

    def _register_sigint_handler(self, controller: Any) -> None:
        """Install no handler; keep the controller for `abort`."""
        self.controller = controller

    def _create_default_callbacks(self) -> list[Any]:
        """Those of `TorchTrainer`, without the cleaner of placement groups in an own cluster."""
        found: list[Any] = super()._create_default_callbacks()  # type: ignore[misc]
        if not cluster.is_own():
            return found
        return [each for each in found if type(each).__name__ != "PlacementGroupCleanerCallback"]

    def abort(self) -> None:
        """End the workers, which would otherwise go on in a cluster that outlives this run."""
        if self.controller is not None:
            with contextlib.suppress(RayError):
                ray.get(self.controller.abort.remote(), timeout=ABORT_SECONDS)
