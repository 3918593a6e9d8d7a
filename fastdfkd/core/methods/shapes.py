"""Images of random shapes, which no step optimises, for teachers of any kind.

Knowledge can be distilled on images that have nothing to do with the teacher's data, if there are
enough different ones (arXiv 2112.00725 does it with crops of a single image). Drawing an image
costs less than one pass of a small network, so that every update can have new ones. With
`candidates` above 1 the teacher chooses: each class in turn gets the image it is surest of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastdfkd.core.interfaces import MetaUpdate
from fastdfkd.core.methods.loss_terms import finite
from fastdfkd.core.methods.method import Method, OptimisedBatch
from fastdfkd.core.methods.objective import InversionObjective
from fastdfkd.core.random_streams import batch_stream, stream
from fastdfkd.core.shape_images import draw_shapes
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe.methods import ShapesSynthesis


_SAMPLE = 64
"""Images of a batch that the teacher is asked about if it chooses none."""


class Shapes(Method):
    """Implements `Synthesizer`. Batches are independent of each other and of the student."""

    section: ShapesSynthesis

    def __init__(self, section: ShapesSynthesis, task: Task, index: int = 0):
        objective = InversionObjective(task, (0.0, 1.0, 0.0), task.kind.adversarial_loss)
        super().__init__(section, task, index, objective)

    @torch.no_grad()
    def optimised(self, round: int, attempt: int, adversarial: bool) -> OptimisedBatch:
        """Draw a batch. `oh` is the teacher's cross-entropy with its own classes.

        Without candidates the teacher is asked about a sample of the images, for the figures only.
        """
        images, count = self._candidates(round, attempt), self.section.batch_size
        asked = images if len(images) > count else images[:_SAMPLE]
        answers = torch.cat([self._answers(part) for part in torch.split(asked, count)])
        if len(images) > count:
            chosen = surest_of_each_class(answers, count)
            images, answers = images[chosen], answers[chosen]
        oh = self.kind.one_hot_loss(answers, answers.argmax(1)).item()
        losses = finite(round, [oh, 0.0, oh, 0.0])
        return OptimisedBatch(images, answers, None, losses, MetaUpdate(round, []))

    def first_inputs(self, round: int, attempt: int) -> Tensor:
        """The first images of a batch, normalised."""
        return self.normalisation(self._candidates(round, attempt)[: self.section.batch_size])

    def _candidates(self, round: int, attempt: int) -> Tensor:
        section = self.section
        randomness = stream(self.seed, *batch_stream(round, attempt), device=self.device)
        count = section.batch_size * section.candidates
        return draw_shapes(count, self.image_shape, section.shapes, randomness)

    def _answers(self, images: Tensor) -> Tensor:
        with self.objective.batch():
            self.objective(self.normalisation(images), None, adversarial=False)
        return self.objective.answers


def surest_of_each_class(logits: Tensor, count: int) -> Tensor:
    """Indices of `count` images, (count,) int64: of each class in turn the surest left.

    Args:
        logits: the teacher's, (N, K, *space); shares of classes are means over positions.
        count: at most N.
    """
    shares = logits.softmax(1).flatten(2).mean(2) if logits.ndim > 2 else logits.softmax(1)
    confidence, classes = shares.max(1)
    order = confidence.argsort(descending=True, stable=True)
    members = torch.nn.functional.one_hot(classes[order], shares.shape[1])
    turns = members.cumsum(0).gather(1, classes[order][:, None])[:, 0]
    return order[turns.argsort(stable=True)][:count]
