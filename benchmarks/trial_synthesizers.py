"""Synthesizers that are tried in `benchmarks/ablations.py`: other uses of Fast's generator.

Averages and turns go on from batch to batch as `synthesis.meta: sequential` does, and are for that
setting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from fastdfkd.core.drawn_generator import class_vectors
from fastdfkd.core.generators import Generator
from fastdfkd.core.interfaces import MetaUpdate
from fastdfkd.core.meta_gradient import MetaGenerator
from fastdfkd.core.methods.fast import FastSynthesizer
from fastdfkd.core.methods.inversion import RandomInputs
from fastdfkd.core.methods.loss_terms import DivergedError
from fastdfkd.core.methods.method import OptimisedBatch
from fastdfkd.core.precision import autocast
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe import FastSynthesis


class AveragedGenerator(FastSynthesizer):
    """The images of a batch are those of an average of the generator's weights.

    The average follows the weights after every step: a <- d a + (1 - d) theta'. After n steps d is
    `decay`, or (1 + n) / (10 + n) if that is less, so that the initial weights are soon forgotten.
    The images are made from the batch's codes after the last step. The steps themselves, and the
    generator of the next batch, are those of the method. `losses` of a batch are those of the step
    with the lowest loss, whose images are not kept. The teacher's answers are those for the images;
    they take one more pass of the teacher for each batch.
    """

    decay: ClassVar[float] = 0.9

    def __init__(self, section: FastSynthesis, task: Task, index: int = 0):
        super().__init__(section, task, index)
        self.average = _weights(self.generator)
        """For each parameter of the generator."""
        self.averaged = 0
        """Steps that the average has followed."""

    def optimise(self, draws: RandomInputs, adversarial: bool) -> OptimisedBatch:
        """Optimise a batch, then make its images; a batch that diverges leaves the average."""
        before = [weights.clone() for weights in self.average], self.averaged
        try:
            made = super().optimise(draws, adversarial)
        except DivergedError:
            self.average, self.averaged = before
            raise
        images = self._images_of_average()
        return replace(made, images=images, answers=self._answers(images))

    def _step(self, *arguments: Any) -> Any:
        """One step of the method; the average follows it."""
        seen = super()._step(*arguments)
        decay = min(self.decay, (1 + self.averaged) / (10 + self.averaged))
        with torch.no_grad():
            for mine, new in zip(self.average, self.copies.fast, strict=True):
                mine.lerp_(new, 1 - decay)
        self.averaged += 1
        return seen

    @torch.no_grad()
    def _images_of_average(self) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of the averaged weights and the newest codes."""
        copies = self.copies
        weights = dict(zip(copies.names, self.average, strict=True))
        with autocast(self.device, self.objective.precision):
            images = functional_call(self.generator, weights, (*copies.codes, *copies.others))
        return images.to(copies.codes[0].dtype)

    @torch.no_grad()
    def _answers(self, images: Tensor) -> Tensor:
        """The teacher's logits (B, K) for images (B, C, H, W) in [0, 1]."""
        objective, use = self.objective, self.objective.teacher_use
        inputs = use.images(self.normalisation(images))
        with use.autocast(self.device, objective.precision):
            return use.logits(objective.fused_teacher(inputs)).float()

    def state_dict(self) -> dict[str, Any]:
        """The method's state and the average."""
        return {**super().state_dict(), "average": self.average, "averaged": self.averaged}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        super().load_state_dict(state)
        self.average = [weights.clone() for weights in state["average"]]
        self.averaged = state["averaged"]


class AimedAdversary(FastSynthesizer):
    """The adversarial weight follows the student: it aims at a divergence from the teacher.

    After a batch with the adversarial term, adv <- adv exp(0.2 (aim - d) / aim), where d is minus
    the adversarial term of the step whose images are kept: KL(T || S) where both name one class. So
    the weight rises while the student follows the teacher too well. It stays within a quarter and
    four times of the recipe's.
    """

    aim: ClassVar[float] = 0.2

    def __init__(self, section: FastSynthesis, task: Task, index: int = 0):
        super().__init__(section, task, index)
        self.planned = self.objective.adv

    def optimise(self, draws: RandomInputs, adversarial: bool) -> OptimisedBatch:
        """Optimise a batch; then move the weight."""
        made = super().optimise(draws, adversarial)
        if adversarial:
            factor = math.exp(0.2 * (self.aim + made.losses["adv"]) / self.aim)
            least, most = self.planned / 4, self.planned * 4
            self.objective.adv = min(max(self.objective.adv * factor, least), most)
        return made

    def state_dict(self) -> dict[str, Any]:
        """The method's state and the weight."""
        return {**super().state_dict(), "adv": self.objective.adv}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        super().load_state_dict(state)
        self.objective.adv = state["adv"]


class GeneratorsInTurn(MetaGenerator):
    """Several generators; batch r is made by number r mod n, which alone learns from it.

    With `reset_every` one generator is drawn anew every so many rounds: first number 0, then 1, and
    after the last one number 0 again.
    """

    def __init__(self, section: FastSynthesis, task: Task, count: int, reset_every: int | None):
        vectors = class_vectors(section, task)
        super().__init__(section, task.image_shape, task.seed, task.device, vectors)
        assert section.meta == "sequential", f"expected synthesis.meta sequential: {section.meta}"
        assert section.reset_after is None, "expected no synthesis.reset_after"
        self.reset_every, self.current = reset_every, 0
        self.lives = [0] * count
        """How often each generator was drawn anew."""
        self.all = [self._drawn(number) for number in range(count)]
        """Weights of each generator; `generator` has those of number `current`."""

    def begin(self, round: int) -> None:
        """Take the weights of the generator whose turn it is, drawn anew if that is due."""
        number = self.current = round % len(self.all)
        life = self._life_of(number, round)
        if life > self.lives[number]:
            self.lives[number] = life
            self.all[number] = self._drawn(number)
            self.version += 1
        _set_weights(self.generator, self.all[number])

    def learn(self, updates: Sequence[MetaUpdate]) -> None:
        """Take over the weights of a batch, for the generator that made it."""
        super().learn(updates)
        self.all[self.current] = _weights(self.generator)

    def _life_of(self, number: int, round: int) -> int:
        """How often a generator has been due to be drawn anew up to a round."""
        if self.reset_every is None:
            return 0
        resets, count = round // self.reset_every, len(self.all)
        return (resets - number + count - 1) // count

    def _drawn(self, number: int) -> list[Tensor]:
        """Initial weights; the first ones of number 0 are those of the method's generator."""
        life = self.lives[number]
        keys = ("generator", "in turn", number, life) if number or life else ("generator",)
        return _weights(self._draw(*keys))

    def state_dict(self) -> dict[str, Any]:
        """The generator in use, all weights, and how often they were drawn."""
        own = {"all": self.all, "lives": self.lives, "current": self.current}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        super().load_state_dict(state)
        self.all = [[weights.clone() for weights in each] for each in state["all"]]
        self.lives, self.current = list(state["lives"]), state["current"]


class SynthesizerInTurn(FastSynthesizer):
    """Fast with `GeneratorsInTurn`. A subclass says how many there are."""

    count: ClassVar[int]
    reset_every: ClassVar[int | None] = 8
    """Rounds. A minute of glyphs-best has about 35."""

    @classmethod
    def shared_generator(cls, section: FastSynthesis, task: Task) -> MetaGenerator:
        """The generators in their initial states."""
        return GeneratorsInTurn(section, task, cls.count, cls.reset_every)


class TwoInTurn(SynthesizerInTurn):
    """Each generator is drawn anew every 16 rounds, of which 8 are its own."""

    count = 2


class FourInTurn(SynthesizerInTurn):
    """Each generator is drawn anew every 32 rounds, of which 8 are its own."""

    count = 4


class TwoLasting(TwoInTurn):
    """No generator is drawn anew: what several generators do without resets."""

    reset_every = None


def _weights(generator: Generator) -> list[Tensor]:
    """A copy of the weights."""
    return [parameter.detach().clone() for parameter in generator.parameters()]


@torch.no_grad()
def _set_weights(generator: Generator, weights: list[Tensor]) -> None:
    for parameter, new in zip(generator.parameters(), weights, strict=True):
        parameter.copy_(new)
