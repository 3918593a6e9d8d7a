"""FastDFKD in one process, as in the paper (Algorithm 1 of arXiv 2112.06253).

The platform with one synthesizer, one worker and `schedule: lockstep` computes the same numbers; on
the CPU bit for bit, which a test checks.
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
        synthesizer: synthesises the batches.
        bank: stores them, on the device of the student.
        distiller: trains the student.
        synthesis: number of rounds and of warm-up rounds.
        distillation: number of student updates per round.
        clock: sums *synthesis*, *storage* and *distillation* seconds; a CPU clock if unset.
        on_round: called after each round with its number and the clock. It must not change the
            other arguments.

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
