"""Several student updates in one replay of a CUDA graph.

Between two replays the GPU waits for Python: for the draws of the next update, and for the copies
of its arguments. A chain draws for `LENGTH` updates, then makes them in one replay, in which the
images are taken from the bank. Every update has the draws and the learning rate that it would have
alone, so the student is that of single captured updates.

What a chain cannot hold is made in single updates: views from a teacher cache, whose places depend
on counts in Python; updates that take the images of a round in order; students with dropout, for
which the random state would be set between two updates; and several workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastdfkd.core.augment import Augmentation
from fastdfkd.core.captured import Captured, captured
from fastdfkd.core.interfaces import SampleBank
from fastdfkd.core.random_streams import stream

if TYPE_CHECKING:
    from fastdfkd.core.distillation import StudentDistiller

LENGTH = 8
"""Updates of a replay."""


class ChainedUpdates:
    """Makes updates of a distiller whose single steps are captured."""

    def __init__(self, distiller: StudentDistiller, wanted: bool):
        """Prepare the chain.

        Args:
            distiller: makes the updates; its steps are captured if `wanted`.
            wanted: whether updates may be chained.
        """
        self.distiller = distiller
        self.step = captured(self._run, distiller.device, wanted, distiller.optimizer.zero_grad)

    def fits(self, count: int) -> bool:
        """Whether the next updates can be chained if so many are due."""
        step = self.step
        return isinstance(step, Captured) and not step.failure and count >= LENGTH

    def make(self, bank: SampleBank) -> Tensor:
        """The next `LENGTH` updates; returns their losses, (LENGTH,)."""
        distiller, section = self.distiller, self.distiller.section
        indices, moves, rates = [], [], []
        for _ in range(LENGTH):
            randomness = stream(
                distiller.seed,
                "distillation",
                distiller.updates,
                distiller.rank,
                device=distiller.device,
            )
            indices.append(bank.indices(distiller.share, randomness))
            options = section.crop_padding, section.flip, section.invert
            moves.append(Augmentation.draw(distiller.share, *options, randomness))
            rates.append(distiller.lr)
            distiller.updates += 1
        inverted = [move.invert for move in moves if move.invert is not None]
        distiller.student.train()
        losses: Tensor = self.step(
            bank,
            torch.stack(indices),
            torch.stack([move.dy for move in moves]),
            torch.stack([move.dx for move in moves]),
            torch.stack([move.flip for move in moves]),
            torch.stack(inverted) if inverted else None,
            torch.tensor(rates, dtype=torch.float32).to(distiller.device),
        )
        return losses.clone()  # the next replay overwrites it

    def _run(
        self,
        bank: SampleBank,
        indices: Tensor,
        dy: Tensor,
        dx: Tensor,
        flip: Tensor,
        invert: Tensor | None,
        rates: Tensor,
    ) -> Tensor:
        """The updates one after the other. It can be captured: no statement waits for the device.

        Args:
            bank: holds the images in memory that does not move.
            indices: (LENGTH, B) int64, positions in the bank.
            dy: fields of `Augmentation`, (LENGTH, B), as the next three.
            dx: likewise.
            flip: likewise.
            invert: likewise.
            rates: (LENGTH,) float32, learning rates.

        Returns:
            The losses, (LENGTH,).
        """
        distiller, losses = self.distiller, []
        rate = distiller.optimizer.lr
        assert isinstance(rate, Tensor)
        for number in range(LENGTH):
            inverted = None if invert is None else invert[number]
            move = dy[number], dx[number], flip[number], inverted
            _, inputs, logits, *maps = distiller.ask_plainly(bank.at(indices[number]), *move)
            rate.copy_(rates[number])
            losses.append(distiller.follow_plainly(inputs, logits, *maps))
        return torch.stack(losses)
