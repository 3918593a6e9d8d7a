"""FastDFKD in one process, as the paper writes it (Algorithm 1 of arXiv 2112.06253).

The platform with one synthesizer, one worker and `schedule: lockstep` equals this number for
number. On the CPU that is bit for bit, and a test holds it there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fastdfkd.core.clock import Clock
from fastdfkd.core.interfaces import Distiller, SampleBank, Synthesizer

if TYPE_CHECKING:
    from fastdfkd.recipe import DistillationSection, SynthesisSection

OnRound = Callable[[int, Clock], None]


def reference_loop(
    synthesizer: Synthesizer,
    bank: SampleBank,
    distiller: Distiller,
    synthesis: SynthesisSection,
    distillation: DistillationSection,
    clock: Clock | None = None,
    on_round: OnRound | None = None,
) -> Clock:
    """Synthesise a batch, add it to the bank, update the student; repeat.

    Args:
        synthesizer: makes the batches.
        bank: keeps them, on the student's device.
        distiller: teaches the student.
        synthesis: gives the number of rounds and of warm-up rounds.
        distillation: gives the student updates of a round.
        clock: adds up *synthesis*, *storage* and *distillation* seconds; a CPU clock if unset.
        on_round: called after each round, for logging and evaluation. Must not change anything.

    Returns:
        The clock.
    """
    clock = clock or Clock()
    for round in range(synthesis.rounds):
        version = max(round - synthesis.warmup_rounds, 0)
        synthesizer.load_student(distiller.student_state(), version)
        with clock.measure("synthesis"):
            batch = synthesizer.synthesize(round)
        with clock.measure("storage"):
            bank.insert(batch)
        if round >= synthesis.warmup_rounds:
            with clock.measure("distillation"):
                for _ in range(distillation.updates_per_round):
                    distiller.update(bank)
        if on_round is not None:
            on_round(round, clock)
    return clock
