"""DeepInversion (arXiv 1912.08795) without any optimisation: the headline benchmark's baseline.

Written as the other baselines (`benchmarks/naive.py`): eager float32 in row-major layout, forward
hooks, and a loss that is read in every step. It computes the same function as
`fastdfkd.core.methods.deep_inversion` (`tests/benchmarks/test_headline.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.naive import MomentsHook, row_major
from fastdfkd.core.augment import Normalisation

if TYPE_CHECKING:
    from fastdfkd.recipe import DeepInversionSynthesis


class NaiveDeepInversion:
    """Pixels optimised from noise; batches are independent."""

    def __init__(
        self,
        section: DeepInversionSynthesis,
        teacher: nn.Module,
        student: nn.Module,
        normalisation: Normalisation,
    ) -> None:
        self.section = section
        self.teacher, self.student = row_major(teacher).eval(), row_major(student).eval()
        layers = [m for m in self.teacher.modules() if isinstance(m, nn.BatchNorm2d)]
        self.hooks = [MomentsHook(layer, 0.0) for layer in layers]
        corners = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
        self.low, self.high = (
            normalisation(corner.to(normalisation.mean.device)) for corner in corners
        )

    def optimise(
        self, x: Tensor, labels: Tensor, moves: list[list[int]]
    ) -> tuple[Tensor, list[float]]:
        """One step for each move (roll in y, roll in x, flip); return pixels and losses."""
        section, x, losses = self.section, x.clone().requires_grad_(), []
        optimizer = torch.optim.Adam([x], section.lr, betas=(0.5, 0.99), foreach=False, fused=False)
        best, kept = float("inf"), x
        for shift_y, shift_x, flip in moves:
            seen = torch.roll(x, (shift_y, shift_x), (2, 3))
            seen = torch.flip(seen, [3]) if flip else seen
            logits, student_logits = self.teacher(seen), self.student(seen)
            loss = section.bn * sum(hook.loss for hook in self.hooks)
            loss = loss + section.oh * F.cross_entropy(logits, labels)
            loss = loss + section.adv * self._divergence(logits, student_logits)
            losses.append(loss.item())
            if losses[-1] < best:
                best, kept = losses[-1], x.detach().clone()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            x.data = torch.minimum(torch.maximum(x.data, self.low), self.high)
        return kept, losses

    def _divergence(self, logits: Tensor, student_logits: Tensor) -> Tensor:
        """Minus the Jensen-Shannon divergence at temperature 3."""
        teacher, student = (F.softmax(side / 3, dim=1) for side in (logits, student_logits))
        middle = ((teacher + student) / 2).clamp(1e-12, 1.0).log()
        halves = [F.kl_div(middle, side, reduction="batchmean") for side in (teacher, student)]
        return -(halves[0] + halves[1]) / 2
