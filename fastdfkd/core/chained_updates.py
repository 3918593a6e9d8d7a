"""Several student updates in one replay of a CUDA graph.

Between two replays the GPU waits for Python. A chain draws images and augmentations for `LENGTH`
updates, then makes them in one replay. Every update has the draws and the learning rate that it
would have alone, so the student is that of single captured updates.

What a chain cannot hold is made in single updates: views from a teacher cache, whose places depend
on counts in Python; students with dropout, for which the random state would be set between two
updates; and large images, for which a replay is long anyway. Workers that train together chain the
same updates: all of them or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fastdfkd.core.capture_trial import draws_random_numbers
from fastdfkd.core.captured import Captured, captured
from fastdfkd.core.interfaces import SampleBank
from fastdfkd.core.optimizers import SGD
from fastdfkd.core.task import Task
from fastdfkd.core.teacher_cache import TeacherCache
from fastdfkd.core.worker_group import Workers

LENGTH = 8
"""Updates of a replay."""
MOST_BYTES = 8 * 2**20
"""Most bytes of the images of one update; a chain holds them twice."""


class Chainable(Protocol):
    """What a chain needs of a `StudentDistiller`, whose methods these are."""

    device: torch.device
    share: int
    updates: int
    module: nn.Module
    optimizer: SGD
    cache: TeacherCache | None
    workers: Workers
    ask: Callable[..., Any]
    follow: Callable[..., Any]

    def in_mode(self) -> nn.Module:
        """See `StudentDistiller`."""

    @property
    def lr(self) -> float:
        """Learning rate of the next update."""

    def new_views(
        self, bank: SampleBank, count: int
    ) -> tuple[torch.Generator, Tensor, tuple[Tensor | None, ...]]:
        """The draws of the next update."""

    def ask_plainly(self, images: Tensor, *draws_and_seen: Tensor | None) -> tuple[Tensor, ...]:
        """Augment images and run the teacher on them."""

    def follow_plainly(
        self, inputs: Tensor, teacher_logits: Tensor, *teacher_maps: Tensor
    ) -> Tensor:
        """One step of the student."""


class ChainedUpdates:
    """Makes updates of a distiller whose single steps are captured."""

    def __init__(self, distiller: Chainable, task: Task):
        """Prepare the chain.

        Args:
            distiller: makes the updates.
            task: its task.
        """
        self.distiller = distiller
        agree, discard = distiller.workers.agree, distiller.optimizer.zero_grad
        wanted = agree(_can_be_chained(distiller, task))
        self.step = captured(self._run, distiller.device, wanted, discard, agree)

    def fits(self, count: int) -> bool:
        """Whether the next updates can be chained if so many are due."""
        step = self.step
        return isinstance(step, Captured) and not step.failure and count >= LENGTH

    def make(self, bank: SampleBank) -> Tensor:
        """The next `LENGTH` updates; returns their losses, (LENGTH,)."""
        distiller = self.distiller
        images, draws, rates = [], [], []
        for _ in range(LENGTH):
            _, drawn, draw = distiller.new_views(bank, distiller.share)
            images.append(drawn)
            draws.append(draw)
            rates.append(distiller.lr)
            distiller.updates += 1
        distiller.in_mode()
        fields = [_stacked(field) for field in zip(*draws, strict=True)]
        lrs = torch.tensor(rates, dtype=torch.float32).to(distiller.device)
        losses: Tensor = self.step(lrs, torch.stack(images), *fields)
        return losses.clone()  # the next replay overwrites it

    def _run(self, rates: Tensor, images: Tensor, *draws: Tensor | None) -> Tensor:
        """The updates one after the other. It can be captured: no statement waits for the device.

        Args:
            rates: (LENGTH,) float32, learning rates.
            images: (LENGTH, B, C, H, W) uint8.
            draws: what `Views.draw` drew, each with a first axis of LENGTH.

        Returns:
            The losses, (LENGTH,).
        """
        distiller, losses = self.distiller, []
        rate = distiller.optimizer.lr
        assert isinstance(rate, Tensor)
        for number in range(LENGTH):
            own = (None if field is None else field[number] for field in draws)
            _, inputs, logits, *maps = distiller.ask_plainly(images[number], *own)
            rate.copy_(rates[number])
            losses.append(distiller.follow_plainly(inputs, logits, *maps))
        return torch.stack(losses)


def _stacked(field: tuple[Tensor | None, ...]) -> Tensor | None:
    """One field of the draws of all updates; None if they have none."""
    drawn = [each for each in field if each is not None]
    return torch.stack(drawn) if drawn else None


def _can_be_chained(distiller: Chainable, task: Task) -> bool:
    """Whether the updates are captured and need nothing that a chain cannot hold."""
    if not (isinstance(distiller.ask, Captured) and isinstance(distiller.follow, Captured)):
        return False
    if distiller.cache is not None or distiller.share * math.prod(task.image_shape) > MOST_BYTES:
        return False
    return not draws_random_numbers(distiller.module, task.student_use, task.student_shape)
