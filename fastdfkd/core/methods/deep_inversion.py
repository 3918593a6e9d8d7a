"""DeepInversion (arXiv 1912.08795): optimise every image from noise. The 1x of all speed-ups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastdfkd.core.batch import Provenance, SyntheticBatch, to_uint8
from fastdfkd.core.clock import Clock
from fastdfkd.core.interfaces import MetaUpdate, StateDict
from fastdfkd.core.losses import jensen_shannon_adversarial_loss, total_variation
from fastdfkd.core.methods.objective import Best, InversionObjective
from fastdfkd.core.optimizers import Adam
from fastdfkd.core.random_streams import batch_stream, stream
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe import DeepInversionSynthesis

BETAS = (0.5, 0.99)


class DeepInversion:
    """Implements `Synthesizer`. Batches are independent: nothing is learned between them."""

    def __init__(self, section: DeepInversionSynthesis, task: Task, index: int = 0):
        self.section, self.kind = section, task.kind
        self.normalisation, self.seed, self.index = task.normalisation, task.seed, index
        self.image_shape, self.device = tuple(task.image_shape), torch.device(task.device)
        self.objective = InversionObjective(
            task,
            (section.bn, section.oh, section.adv),
            jensen_shannon_adversarial_loss,
        )
        self.clock = Clock(self.device)

    def load_student(self, state: StateDict, version: int) -> None:
        """Take the student's newest weights for the adversarial loss."""
        self.objective.load_student(state, version)

    def make(self, round: int, attempt: int = 0) -> tuple[SyntheticBatch, MetaUpdate]:
        """Optimise one batch from noise; everything random follows from (seed, round, attempt)."""
        section = self.section
        start = self.clock.now()

        def optimised(adversarial: bool) -> tuple[Tensor, Tensor, dict[str, float]]:
            x, labels, randomness = self._draws(round, attempt)
            kept, losses = self._optimise(x, labels, round, adversarial, randomness)
            return kept, labels, losses

        adversarial = round >= section.warmup_rounds
        (kept, labels, losses), note = self.objective.make(
            optimised, adversarial, lambda: self._draws(round, attempt)[0]
        )
        images = to_uint8(self.normalisation.inverse(kept)).contiguous()
        provenance = Provenance(
            round=round,
            synthesizer=self.index,
            student_version=self.objective.student_version,
            synthesis_seconds=self.clock.now() - start,
            losses=losses,
            note=note,
        )
        batch = SyntheticBatch(images=images, labels=labels, provenance=provenance)
        return batch, MetaUpdate(round, [])

    def learn(self, updates: Sequence[MetaUpdate]) -> None:
        """Nothing to learn."""

    def synthesize(self, round: int, attempt: int = 0) -> SyntheticBatch:
        """Optimise one batch."""
        return self.make(round, attempt)[0]

    def state_dict(self) -> dict[str, Any]:
        """Empty: batches do not depend on each other."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""

    def _draws(self, round: int, attempt: int) -> tuple[Tensor, Tensor, torch.Generator]:
        """Noise (B, C, H, W) and labels (B, *space) of a batch, and the stream after them."""
        section = self.section
        randomness = stream(self.seed, *batch_stream(round, attempt), device=self.device)
        shape = (section.batch_size, *self.image_shape)
        x = torch.randn(shape, generator=randomness, device=self.device)
        labels = self.kind.draw_labels(
            len(x), self.image_shape, section.balanced_labels, randomness
        )
        return x, labels, randomness

    def _optimise(
        self,
        x: Tensor,
        labels: Tensor,
        round: int,
        adversarial: bool,
        randomness: torch.Generator,
    ) -> tuple[Tensor, dict[str, float]]:
        """Adam on normalised pixels, kept where images in [0, 1] can be."""
        section = self.section
        low = self.normalisation(torch.zeros_like(x[:1]))
        high = self.normalisation(torch.ones_like(x[:1]))
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        optimizer = Adam([x], section.lr, BETAS)
        moves = self._moves(randomness)
        best = Best()
        with self.objective.batch():
            for shift_y, shift_x, flip in moves:
                seen = x.roll((shift_y, shift_x), (2, 3))
                terms = self.objective(seen.flip(3) if flip else seen, labels, adversarial)
                loss = terms[0]
                if section.tv > 0:
                    loss = loss + section.tv * total_variation(x)
                if section.l2 > 0:
                    loss = loss + section.l2 * torch.linalg.vector_norm(x)
                best.offer(torch.cat([loss.detach()[None], terms[1:].detach()]), x)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                with torch.no_grad():
                    x.clamp_(low, high)
            return best.take(round)

    def _moves(self, randomness: torch.Generator) -> list[list[int]]:
        """(steps, 3): rolls in y and x and flip of the whole batch, read from the device once."""
        section = self.section
        steps, device = (section.steps,), self.device
        height, width = self.image_shape[1:]
        columns = []
        for side in (height, width):
            limit = int(side * section.jitter)
            columns.append(
                torch.randint(-limit, limit + 1, steps, generator=randomness, device=device)
            )
        flips = torch.randint(2, steps, generator=randomness, device=device)
        columns.append(flips if section.flip else torch.zeros_like(flips))
        return torch.stack(columns, 1).tolist()
