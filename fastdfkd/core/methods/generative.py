"""Base class of the methods that train one generator throughout the run.

Round r of a run (DAFL, ZSKT, DFQ, DFAD differ in the loss alone):

    generator_steps times:  G <- Adam(G, gradient of the loss on images of fresh noise)
    batch_size images of G go into the bank, unaugmented

In lock-step the student updates of the round follow, so each method has its paper's alternation of
generator and student steps. `bank.draws: in_order` gives each of these updates the next images.
Each method's module names its paper; docs/methods.md says where all four differ from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.captured import Captured, captured
from fastdfkd.core.methods.loss_terms import finite
from fastdfkd.core.methods.method import Method, OptimisedBatch
from fastdfkd.core.methods.objective import AdversarialLoss, InversionObjective, StatisticsLoss
from fastdfkd.core.methods.priors import PriorWeights
from fastdfkd.core.persistent_generator import PersistentGenerator
from fastdfkd.core.precision import autocast
from fastdfkd.core.random_streams import batch_stream, stream
from fastdfkd.core.task import Task
from fastdfkd.core.task_kind import TaskKind

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import GenerativeSection


def minus_divergence(kind: TaskKind) -> AdversarialLoss:
    """The adversarial loss - mean KL(T || S) at temperature 1 over all images or pixels."""
    return lambda teacher, student: -kind.distillation_loss(teacher, student, 1.0)


@dataclass(frozen=True)
class Noise:
    """The random inputs of a round."""

    steps: list[Tensor]
    """Noise of each generator step, (generator_batch_size, latent_dim)."""
    images: Tensor
    """Noise of the images for the bank, (batch_size, latent_dim)."""


class GenerativeMethod(Method):
    """Implements `Synthesizer`. A subclass chooses the losses.

    The teacher's classes of the images serve as labels. The student of the adversarial term is the
    newest one, frozen and in eval mode.
    """

    section: GenerativeSection
    shared: PersistentGenerator

    def __init__(
        self,
        section: GenerativeSection,
        task: Task,
        index: int,
        adversarial_loss: AdversarialLoss,
        *,
        bn_loss: StatisticsLoss = BatchNormStatistics.loss,
    ):
        objective = InversionObjective(
            task,
            (section.bn, section.oh, section.adv),
            adversarial_loss,
            bn_loss=bn_loss,
            priors=PriorWeights.of(section),
        )
        super().__init__(section, task, index, objective)
        self.shared = self.shared_generator(section, task)
        self.trained = self.shared_generator(section, task)
        """The copy that a round trains."""
        self.step = captured(
            self._step, task.device, self.capturable(task), self.trained.optimizer.zero_grad
        )
        if isinstance(self.step, Captured):
            self.trained.optimizer.lr = torch.zeros((), device=self.device)

    @classmethod
    def shared_generator(cls, section: GenerativeSection, task: Task) -> PersistentGenerator:
        """The generator in its initial state."""
        return PersistentGenerator(section, task.image_shape, task.seed, task.device)

    def optimised(self, round: int, attempt: int, adversarial: bool) -> OptimisedBatch:
        """Train a copy of the generator and make images with it.

        The losses are those of the last generator step, before it. The answers are the teacher's
        for the images of that step, because its answers for the images of the bank are not needed.
        """
        noise = self.noise(round, attempt)
        self.trained.load_state_dict(self.shared.state_dict())
        self.trained.optimizer.zero_grad()  # gradients of a step that raised
        self.trained.optimizer.set_lr(self.section.lr_of(round))
        terms = []
        with self.objective.batch():
            for z in noise.steps:
                found, answers = self.step(adversarial, z)
                terms.append(found.clone())  # the next call of a captured step overwrites it
        losses = [finite(round, found) for found in torch.stack(terms).tolist()]
        with torch.no_grad():
            parts = torch.split(noise.images, self.section.generator_batch_size)
            images = torch.cat([self._images(z) for z in parts])
        update = self.trained.update(round, self.shared.version)
        return OptimisedBatch(images, answers, None, losses[-1], update)

    def first_inputs(self, round: int, attempt: int) -> Tensor:
        """The shared generator's images of the first step's noise, normalised."""
        self.trained.load_state_dict(self.shared.state_dict())
        return self.normalisation(self._images(self.noise(round, attempt).steps[0]))

    def noise(self, round: int, attempt: int) -> Noise:
        """Draw the noise of a round: of its steps in order, then of its images."""
        section = self.section
        randomness = stream(self.seed, *batch_stream(round, attempt), device=self.device)

        def drawn(count: int) -> Tensor:
            shape = count, section.latent_dim
            return torch.randn(shape, generator=randomness, device=self.device)

        steps = [drawn(section.generator_batch_size) for _ in range(section.generator_steps)]
        return Noise(steps, drawn(section.batch_size))

    def _step(self, adversarial: bool, z: Tensor) -> tuple[Tensor, Tensor]:
        """One Adam step of the copy. It can be captured: no statement waits for the device.

        Args:
            adversarial: whether the loss has its adversarial term.
            z: (generator_batch_size, latent_dim).

        Returns:
            The loss terms in the order of `TERMS`, (4,), and the teacher's logits, (B, K, *space).
        """
        terms = self.objective(self.normalisation(self._images(z)), None, adversarial)
        terms[0].backward()  # type: ignore[no-untyped-call]
        self.trained.optimizer.step()
        self.trained.optimizer.zero_grad()
        return terms.detach(), self.objective.answers

    def _images(self, z: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of the copy, in the type of z."""
        with autocast(self.device, self.objective.precision):
            images: Tensor = self.trained.generator(z)
        return images.to(z.dtype)

    def state_dict(self) -> dict[str, Any]:
        """Generator and optimiser."""
        return self.shared.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        self.shared.load_state_dict(state)
