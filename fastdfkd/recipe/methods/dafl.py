"""The recipe section of DAFL (arXiv 1904.01186)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fastdfkd.recipe.methods.generative import GenerativeSection
from fastdfkd.recipe.numbers import Positive, Weight


class DAFLSynthesis(GenerativeSection):
    """DAFL: a generator of images that the teacher is sure about, of all classes.

    Nothing in its loss depends on the student (arXiv 1904.01186).
    """

    implementation: ClassVar[str] = "fastdfkd.core.methods.dafl:DAFL"

    method: Literal["dafl"]
    """Selects this method."""
    latent_dim: Positive = 512
    """Length of a latent code z; 1000 in DAFL's own code."""
    oh: Weight = 1.0
    """Weight of the cross-entropy of the teacher with its own most likely classes. DAFL's own code:
    0.05 for CIFAR-10, 0.5 for CIFAR-100."""
    balance: Weight = 20.0
    """Weight of minus the entropy of the teacher's mean answer in nats: images of all classes.
    DAFL's own code: 5 and 20 with the logarithm to base 10, which is 2.17 and 8.69 here."""
    activation: Weight = 0.001
    """Weight of minus the mean absolute value of what the teacher's last layer reads. DAFL's own
    code: 0.01 and 0.1."""
