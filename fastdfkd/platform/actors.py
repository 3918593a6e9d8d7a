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
from fastdfkd.platform.placement import Plan, beside_driver, in_bundle
from fastdfkd.platform.rate_limiter import RateLimiter
from fastdfkd.platform.resume_state import ResumeState
from fastdfkd.platform.sample_bank import SampleBank
from fastdfkd.platform.synthesizer_actor import SynthesizerActor
from fastdfkd.platform.weight_board import WeightBoard
from fastdfkd.recipe import Recipe


@dataclass(frozen=True)
class RunActors:
    """The actors, and what the board is told when it starts, or starts again."""

    experiment: Experiment
    reference: Any
    """To the experiment in the object store."""
    point: ResumeState
    bank: Any
    board: Any
    synthesizers: list[Any]

    def restore_board(self, state: dict[str, Any] | None = None) -> None:
        """Tell the board of the run: `state` as it left it for a checkpoint, or the start's."""
        meta = shared_generator(self.experiment)
        ray.get(self.board.restore.remote([self.reference], state or self.point.board, meta))


@contextmanager
def start(
    experiment: Experiment, plan: Plan, group: Any, point: ResumeState
) -> Iterator[RunActors]:
    """Start bank, board and synthesizers, and stop them at the end of the block.

    Args:
        experiment: parts of the run.
        plan: devices and shares of the roles.
        group: placement group with a bundle for each synthesizer.
        point: what bank and board know at the start.
    """
    recipe, limiter = experiment.recipe, RateLimiter.of(experiment.recipe)
    platform, light = recipe.platform, {"scheduling_strategy": beside_driver()}
    staleness = None if limiter.lockstep else platform.max_staleness
    name = f"fastdfkd-board-{uuid.uuid4().hex}"
    calls = 100 + 2 * plan.synthesizers + 2 * plan.workers  # each may have one that waits
    bank = SampleBank.options(max_concurrency=calls, **light).remote(  # type: ignore[attr-defined]
        limiter, recipe.capacity_rounds, recipe.spare_rounds
    )
    board = WeightBoard.options(name=name, **light).remote(  # type: ignore[attr-defined]
        limiter, staleness, platform.checkpoint_every
    )
    actors = [bank, board]
    try:
        cast = RunActors(experiment, _stored(experiment), point, bank, board, [])
        for index in range(plan.synthesizers):
            actor = SynthesizerActor.options(  # type: ignore[attr-defined]
                num_cpus=plan.synthesizer["CPU"],
                num_gpus=plan.synthesizer.get("GPU", 0),
                scheduling_strategy=in_bundle(group, index),
            ).remote(name, index, plan.device, plan.threads(plan.synthesizer), shares(recipe))
            actors.append(actor)
            cast.synthesizers.append(actor)
        cast.restore_board()
        yield cast
    finally:
        for actor in actors:
            ray.kill(actor)


def _stored(experiment: Experiment) -> Any:
    """A reference to the experiment in the object store.

    Raises:
        ValueError: a network of the user's cannot be sent to another process.
    """
    try:
        return ray.put(experiment)
    except Exception as error:  # whatever a stranger's attributes raise
        raise ValueError(
            "the teacher or the student cannot be sent to another process "
            f"({error.__cause__ or error}): keep locks, files, generators and the like out of "
            "their attributes"
        ) from error


def shares(recipe: Recipe) -> bool:
    """Whether several synthesizers learn one generator together."""
    return recipe.platform.synthesizers > 1 and recipe.synthesis.shares_generator


def shared_generator(experiment: Experiment) -> SharedGenerator | None:
    """The generator that the board holds, in its initial state; None where nothing is shared."""
    return experiment.shared_generator() if shares(experiment.recipe) else None
