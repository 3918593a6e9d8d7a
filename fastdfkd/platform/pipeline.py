"""START HERE: one distillation run, from the recipe to the result.

    place -> bank -> synthesizers -> fit -> finish

Lock-step and asynchronous runs are the same calls: they differ in the bank's rate limiter alone.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from fastdfkd.core.meta_gradient import MetaGenerator
from fastdfkd.experiment import Experiment
from fastdfkd.platform.cluster import cluster_resources
from fastdfkd.platform.dispatcher import Dispatcher
from fastdfkd.platform.monitor import Monitor
from fastdfkd.platform.outcome import finish
from fastdfkd.platform.placement import Plan, beside_driver, in_bundle, reserved
from fastdfkd.platform.rate_limiter import RateLimiter
from fastdfkd.platform.sample_bank import SampleBank
from fastdfkd.platform.synthesizer_actor import SynthesizerActor
from fastdfkd.platform.weight_board import WeightBoard
from fastdfkd.recipe import FastSynthesis, Recipe
from fastdfkd.result import RunResult
from fastdfkd.trainers.student import StudentJob, train_student
from fastdfkd.trainers.weights import to_arrays

if TYPE_CHECKING:
    from fastdfkd.tracking import Recorder
    from fastdfkd.trainers.teacher import Teacher


def run(recipe: Recipe, teacher: Teacher, directory: Path, recorder: Recorder) -> RunResult:
    """Compress `teacher` as `recipe` says, on the Ray cluster this process is connected to.

    Writes `student.safetensors` and `samples.png` into `directory`; progress goes to `recorder`.

    Raises:
        PlacementError: the cluster cannot give what the recipe asks for.
        ValueError: the teacher, the student or the data set do not fit.
        FloatingPointError: synthesis diverged.
    """
    began = time.time()
    experiment = Experiment.of(recipe, teacher.model)
    plan = Plan.of(recipe, cluster_resources())
    placed = reserved(plan, recipe.platform.start_timeout_s)
    with placed as group, start(experiment, plan, group) as cast:
        dispatcher = Dispatcher(cast.bank, cast.board, cast.synthesizers)
        with dispatcher, Monitor(cast.board, dispatcher, recorder):
            fit(cast, plan, recipe, directory, dispatcher)
        final = ray.get(cast.board.final.remote())
        images = dispatcher.newest_images()
    return finish(recipe, plan, teacher, directory, dispatcher.totals, final, images, began)


@dataclass(frozen=True)
class Cast:
    """The actors of a run."""

    experiment: Any
    """Reference to the `Experiment`."""
    bank: Any
    board: Any
    synthesizers: list[Any]


@contextmanager
def start(experiment: Experiment, plan: Plan, group: Any) -> Iterator[Cast]:
    """Start bank, board and synthesizers, and stop them at the end of the block."""
    recipe, shared = experiment.recipe, shares_generator(experiment.recipe)
    limiter = RateLimiter.of(recipe)
    light = {"scheduling_strategy": beside_driver()}
    bank = SampleBank.options(max_concurrency=1000, **light).remote(  # type: ignore[attr-defined]
        limiter, recipe.capacity // recipe.synthesis.batch_size
    )
    name = f"fastdfkd-board-{uuid.uuid4().hex}"
    board = WeightBoard.options(name=name, **light).remote(  # type: ignore[attr-defined]
        None if limiter.lockstep else recipe.platform.max_staleness,
        limiter.wave,
        _shared_generator(experiment) if shared else None,
    )
    reference = ray.put(experiment)
    ray.get(board.keep.remote([reference]))
    synthesizers = [
        SynthesizerActor.options(  # type: ignore[attr-defined]
            num_cpus=plan.synthesizer["CPU"],
            num_gpus=plan.synthesizer.get("GPU", 0),
            scheduling_strategy=in_bundle(group, index),
        ).remote(name, index, plan.device, threads(plan.synthesizer), shared)
        for index in range(plan.synthesizers)
    ]
    try:
        board.publish.remote(to_arrays(experiment.student.state_dict()))
        yield Cast(reference, bank, board, synthesizers)
    finally:
        for actor in (*synthesizers, bank, board):
            ray.kill(actor)


def fit(cast: Cast, plan: Plan, recipe: Recipe, directory: Path, dispatcher: Dispatcher) -> None:
    """Train the student to its last update; raises what stopped either role."""
    job = StudentJob(
        experiment=cast.experiment,
        bank=cast.bank,
        board=cast.board,
        device=plan.device,
        threads=threads(plan.worker),
    )
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(recipe.platform.start_timeout_s)
    trainer = TorchTrainer(
        train_student,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(
            num_workers=plan.workers,
            use_gpu=plan.device == "cuda",
            resources_per_worker=dict(plan.worker) if plan.workers else None,
        ),
        run_config=RunConfig(
            name="ray_train",
            storage_path=str(directory.absolute()),
            failure_config=FailureConfig(
                max_failures=3,
                controller_failure_limit=0,  # type: ignore[call-arg]  # the stubs know V1 alone
            ),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        if dispatcher.error is not None:
            raise dispatcher.error from error
        raise


def shares_generator(recipe: Recipe) -> bool:
    """Whether several synthesizers learn one generator together."""
    synthesis = recipe.synthesis
    several = recipe.platform.synthesizers > 1
    return several and isinstance(synthesis, FastSynthesis) and synthesis.meta != "none"


def threads(resources: dict[str, float]) -> int:
    """Processor threads of a role, from the cores it was given."""
    return max(int(resources["CPU"]), 1)


def _shared_generator(experiment: Experiment) -> MetaGenerator:
    recipe = experiment.recipe
    assert isinstance(recipe.synthesis, FastSynthesis)
    return MetaGenerator(recipe.synthesis, experiment.spec.image_shape, recipe.seed)
