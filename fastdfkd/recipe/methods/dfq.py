"""The recipe section of DFQ (arXiv 2005.04136)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fastdfkd.recipe.methods.generative import GenerativeSection
from fastdfkd.recipe.methods.section import StatisticsForm
from fastdfkd.recipe.numbers import Positive, Weight


class DFQSynthesis(GenerativeSection):
    """DFQ: an adversarial generator that also matches the teacher's BatchNorm statistics.

    The weights are those of the comparison in the FastDFKD paper's code, where it has a generator
    step for ten student updates (arXiv 2005.04136).
    """

    implementation: ClassVar[str] = "fastdfkd.core.methods.dfq:DFQ"

    method: Literal["dfq"]
    """Selects this method."""
    rounds: Positive = 8000
    """Rounds of the whole run: generator steps, images, student updates."""
    batch_size: Positive = 2560
    """Images of a round, all from the generator as it is after the round's steps."""
    bn: Weight = 1.0
    """Weight of the distance between the teacher's running statistics and those of a step's images.
    Above 0 the teacher needs BatchNorm layers."""
    statistics: StatisticsForm = "norms"
    """That distance: `norms` as in FastDFKD; `gaussians`: the divergence of normal distributions,
    summed over layers and channels, as in the paper; `relative`: see `fast`."""
    oh: Weight = 1.0
    """Weight of the cross-entropy of the teacher with its own most likely classes; 0 in the paper,
    which has `confidence` instead."""
    balance: Weight = 20.0
    """Weight of minus the entropy of the teacher's mean answer in nats: images of all classes."""
    adv: Weight = 1.0
    """Weight of minus the mean KL(teacher || student)."""
