"""Changes of glyphs-best that no recipe could say, as rows of `benchmarks/ablations.py`.

They are trials, not options of the product, but for one: the maps of stages became the key
`distillation.stage_maps`, and their rows now set it. A name has the numbers of its trial: if one
changes, the row is another one and is measured anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from benchmarks.timed_run import RunParts
from benchmarks.trial_distillers import (
    AdmittedImages,
    HeavyMapsOfStages,
    MapsOfStages,
    OwnTemperature,
    ReplayDistiller,
)
from benchmarks.trial_synthesizers import (
    AimedAdversary,
    AveragedGenerator,
    FourInTurn,
    SynthesizerInTurn,
    TwoInTurn,
    TwoLasting,
)


def _in_turn(synthesizer: type[SynthesizerInTurn]) -> tuple[str, RunParts]:
    count, every = synthesizer.count, synthesizer.reset_every
    reset = "none new" if every is None else f"one new every {every} rounds"
    return f"{count} generators in turn, {reset}", RunParts(synthesizer=synthesizer)


def _maps(distiller: type[MapsOfStages]) -> tuple[str, RunParts]:
    return f"maps of stages, weight {distiller.weight:g}", RunParts(distiller=distiller)


FIRST: Mapping[str, RunParts] = dict(
    [
        (
            f"images of the generator's average, {AveragedGenerator.decay:g} a step",
            RunParts(synthesizer=AveragedGenerator),
        ),
        *map(_in_turn, (TwoInTurn, FourInTurn, TwoLasting)),
        (
            f"prioritised replay, {ReplayDistiller.uniform:.0%} uniform",
            RunParts(distiller=ReplayDistiller),
        ),
        *map(_maps, (MapsOfStages, HeavyMapsOfStages)),
    ]
)
"""What builds the parts of a run, by the name of the trial."""
LATER: Mapping[str, RunParts] = {
    f"adversary that aims at a divergence of {AimedAdversary.aim:g}": RunParts(
        synthesizer=AimedAdversary
    ),
    f"images admitted at a confidence of {AdmittedImages.least:g}": RunParts(
        distiller=AdmittedImages
    ),
    f"temperature for {OwnTemperature.part:g} of the largest entropy": RunParts(
        distiller=OwnTemperature
    ),
}
"""Those of the table `more`, which were tried with `adv: 4`."""
TRIALS = {**FIRST, **LATER}


def file_name(trial: str) -> str:
    """A trial's name with letters, digits and hyphens alone; "" for none."""
    return re.sub(r"[^a-z0-9.]+", "-", trial.lower()).strip("-")
