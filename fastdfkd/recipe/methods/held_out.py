"""How held-out synthetic images are made, on which a student is compared with its teacher.

The settings depend on no key of a recipe's `synthesis`: every trial of a sweep and every setting of
a comparison is judged on the same images.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastdfkd.recipe.image_input import TaskName
from fastdfkd.recipe.methods.fast import FastSynthesis
from fastdfkd.recipe.methods.teacher_traits import TeacherTraits

_IMAGES_PER_GENERATOR = 250
_MOST_GENERATORS = 4
_WARMUP_ROUNDS = 20
_BATCH_SIZES = (16, 100)
"""Smallest and largest."""


@dataclass(frozen=True)
class HeldOutSynthesis:
    """Settings of the synthesis of `count` images of shape (C, H, W)."""

    count: int
    image_shape: tuple[int, int, int]
    traits: TeacherTraits
    """What the teacher offers: priors stand in for statistics that it does not have."""
    task: TaskName = "classification"
    """What the teacher predicts."""

    @property
    def generators(self) -> int:
        """Meta-generators, each trained from new weights, that share the images."""
        return min(max(self.count // _IMAGES_PER_GENERATOR, 1), _MOST_GENERATORS)

    @property
    def all_rounds(self) -> int:
        """Batches of all generators, with those of their warm-up."""
        return self.generators * self.section.rounds

    @property
    def section(self) -> FastSynthesis:
        """Of one generator: Fast-5, every class equally often, no adversarial term, no flips.

        Maps of classes are the teacher's own: drawn ones look like no scene.
        """
        share = -(-self.count // self.generators)
        smallest, largest = _BATCH_SIZES
        batch_size = min(max(share, smallest), largest)
        settled = FastSynthesis(
            rounds=_WARMUP_ROUNDS + -(-share // batch_size),
            warmup_rounds=_WARMUP_ROUNDS,
            batch_size=batch_size,
            steps=5,
            bn="auto",
            oh=1.0,
            labels="drawn" if self.task == "classification" else "teacher",
            adv=0.0,
            meta_lr=0.01,
            reset_after=None,
            balanced_labels=True,
            latent_dim=100,
            generator_width=32,
            output_norm=True,
            crop_padding=min(self.image_shape[1:]) // 16,
            flip=False,
        ).settled(self.traits)
        assert isinstance(settled, FastSynthesis)
        return settled
