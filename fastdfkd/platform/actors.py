"""The actors of a run: started together, stopped together."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from fastdfkd.core.interfaces import SharedGenerator
from fastdfkd.experiment import Experiment
from fastdfkd.platform.placement import Plan, in_bundle, on_driver_node
from fastdfkd.platform.rate_limiter import RateLimiter
from fastdfkd.platform.resume_state import ResumeState
from fastdfkd.platform.sample_bank import SampleBank
from fastdfkd.platform.synthesizer_actor import SynthesizerActor
from fastdfkd.platform.weight_board import WeightBoard


@dataclass(frozen=True)
class RunActors:
    """The actors, and the state with which the board starts or restarts."""

    experiment: Experiment
    reference: Any
    """Reference to the experiment in the object store."""
    resume: ResumeState
    bank: Any
    board: Any
    synthesizers: list[Any]

    def restore_board(self, state: dict[str, Any] | None = None) -> None:
        """Give the board its state: a checkpoint's, or by default the one the run started with."""
        ray.get(self.send_to_board(state))

    def send_to_board(self, state: dict[str, Any] | None = None) -> Any:
        """Likewise, without waiting for the board; returns the call's reference.

        Nobody gets anything from the board before it has its state, and a failure of this call
        leaves it without, which the monitor finds.
        """
        meta = shared_generator(self.experiment)
        return self.board.restore.remote([self.reference], state or self.resume.board, meta)


@contextmanager
def start(
    experiment: Experiment, plan: Plan, group: Any, resume: ResumeState
) -> Iterator[RunActors]:
    """Start bank, board and synthesizers; kill them at the end of the block.

    Args:
        experiment: networks, data and recipe of the run.
        plan: devices and resources of each role.
        group: placement group with one bundle per synthesizer.
        resume: initial state of bank and board.
    """
    recipe, limiter = experiment.recipe, RateLimiter.of(experiment.recipe)
    platform, light = recipe.platform, {"scheduling_strategy": on_driver_node()}
    staleness = None if limiter.lockstep else platform.max_staleness
    name = f"fastdfkd-board-{uuid.uuid4().hex}"
    calls = 100 + 2 * plan.synthesizers + 2 * plan.workers  # each may have a waiting call
    bank = SampleBank.options(max_concurrency=calls, **light).remote(  # type: ignore[attr-defined]
        limiter, recipe.capacity_rounds, recipe.spare_rounds
    )
    board = WeightBoard.options(name=name, **light).remote(  # type: ignore[attr-defined]
        limiter, staleness, platform.checkpoint_every
    )
    started = [bank, board]
    try:
        actors = RunActors(experiment, stored(experiment), resume, bank, board, [])
        actors.send_to_board()  # not waited for: the workers of Ray Train start meanwhile
        threads = plan.threads(plan.synthesizer)
        use_idle = platform.use_idle and experiment.synthesis.has_steps
        for index in range(plan.synthesizers):
            actor = SynthesizerActor.options(  # type: ignore[attr-defined]
                num_cpus=plan.synthesizer["CPU"],
                num_gpus=plan.synthesizer.get("GPU", 0),
                scheduling_strategy=in_bundle(group, index),
            ).remote(name, index, plan.device, threads, shares(experiment), use_idle)
            started.append(actor)
            actors.synthesizers.append(actor)
        yield actors
    finally:
        for actor in started:
            ray.kill(actor)


def stored(experiment: Experiment) -> Any:
    """Put the experiment into the object store; return the reference.

    Raises:
        ValueError: a network of the user's cannot be sent to another process.
    """
    try:
        return ray.put(experiment)
    except Exception as error:  # pickling a user's attributes can raise anything
        raise ValueError(
            "the teacher or the student cannot be sent to another process "
            f"({error.__cause__ or error}): keep locks, files, generators and the like out of "
            "their attributes"
        ) from error


def shares(experiment: Experiment) -> bool:
    """Whether several synthesizers learn one generator together."""
    several = experiment.recipe.platform.synthesizers > 1
    return several and experiment.synthesis.shares_generator


def shared_generator(experiment: Experiment) -> SharedGenerator | None:
    """The generator that the board holds, in its initial state; None where nothing is shared."""
    return experiment.shared_generator() if shares(experiment) else None
