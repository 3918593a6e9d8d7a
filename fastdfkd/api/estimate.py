"""Estimates time and memory of a whole run from what one step of each role costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastdfkd.core.step_costs import StepCosts
from fastdfkd.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds follow the time contract in ARCHITECTURE.md; start-up is not included."""

    synthesis_step_seconds: float
    """One optimisation step of a batch, past warm-up."""
    update_seconds: float
    """One student update."""
    synthesis_seconds: float
    """All batches, summed over synthesizers."""
    distillation_seconds: float
    """All student updates."""
    end_to_end_seconds: float
    """From the first draw of z to the last update, without evaluation."""
    synthesizer_peak_memory_bytes: int
    """Of one synthesizer."""
    trainer_peak_memory_bytes: int
    """Of one trainer, with its copy of the bank if that is in the same memory."""
    bank_bytes: int
    """All images of a full bank: once in each trainer, at its `bank.location`. Ray's object store
    holds those that no checkpoint has yet."""
    measured_synthesis_images: int
    """Images of the synthesis batch that was measured."""
    measured_update_images: int
    """Images of the update that was measured."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What runs at the same time."""

    synthesizers: int
    workers: int
    """Training processes, at least 1."""
    synthesizer_processors: float
    """Cores that a synthesizer keeps busy while it works, or GPUs."""
    worker_processors: float
    """The same for a training process."""
    processors: float
    """Cores, or GPUs, that there are."""
    process_bytes: int
    """Memory of a process with its libraries, before a role is built."""


def estimated(
    recipe: Recipe,
    synthesis: StepCosts,
    update: StepCosts,
    roles: Roles,
    image_bytes: int,
    started_images: int = 0,
    *,
    bank_in_memory: bool = True,
) -> Estimate:
    """The estimate for a recipe.

    In lock-step the roles take turns. In async the slower role decides: the student waits for the
    first round, and makes the updates of the last round after the last image. If the roles need
    more processors than there are, they cannot be faster than all work on these processors.

    Args:
        recipe: of the run, with its roles fitted to the machine.
        synthesis: of a step.
        update: of an update.
        roles: of the run.
        image_bytes: of one uint8 image.
        started_images: those with which the bank starts (`bank.start_from`).
        bank_in_memory: whether trainers keep the bank in the memory that `update` is measured in.
    """
    section = recipe.synthesis
    steps, warmup = section.steps_per_batch, section.warmup_rounds
    later = section.rounds - warmup
    warmup_round, a_round = steps * synthesis.warmup_seconds, steps * synthesis.seconds
    made = warmup * warmup_round + later * a_round
    a_rounds_updates = recipe.distillation.updates_per_round * update.seconds
    trained = recipe.updates * update.seconds
    alone = made / roles.synthesizers
    if recipe.platform.schedule == "lockstep":
        end = alone + trained
    else:
        waves = math.ceil((warmup + 1) / roles.synthesizers)
        first = waves * (warmup_round if warmup else a_round)
        end = max(alone + a_rounds_updates, first + trained)
        work = made * roles.synthesizer_processors
        work += trained * roles.worker_processors * roles.workers
        end = max(end, work / roles.processors)
    bank = (recipe.capacity + started_images) * image_bytes
    return Estimate(
        synthesis_step_seconds=synthesis.seconds,
        update_seconds=update.seconds,
        synthesis_seconds=made,
        distillation_seconds=trained,
        end_to_end_seconds=end,
        synthesizer_peak_memory_bytes=roles.process_bytes + synthesis.memory_bytes,
        trainer_peak_memory_bytes=roles.process_bytes
        + update.memory_bytes
        + (bank if bank_in_memory else 0),
        bank_bytes=bank,
        measured_synthesis_images=synthesis.images,
        measured_update_images=update.images,
    )
