"""Distillers that are tried in `benchmarks/ablations.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.timed_run import TimedDistiller
from fastdfkd.core.attention import StageMaps, common_stages
from fastdfkd.core.interfaces import SampleBank
from fastdfkd.core.losses import kl_divergence
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.core.task import Task
from fastdfkd.models.weight_selection import evenly_spaced


class ReplayDistiller(TimedDistiller):
    """Draws images on which teacher and student differed (as arXiv 1511.05952 draws transitions).

    An image of the bank is drawn with probability u / N + (1 - u) * KL / (sum of KL), where u is
    `uniform` and KL is that of the newest update in which the image was drawn from the bank, at
    `distillation.temperature`. An image that was never drawn counts as the largest KL known. The
    teacher cache reuses views as always: it draws them uniformly, and they change no KL.
    """

    uniform: ClassVar[float] = 0.5

    def __init__(self, section: Any, task: Task, **more: Any):
        super().__init__(section, task, **more)
        assert section.loss == "kl", f"expected distillation.loss kl: {section.loss}"
        assert not section.mixup, "expected no distillation.mixup: a mixed image is of two"
        assert not self.in_order, "expected images drawn from the whole bank"
        self.loss = self._loss_of_each
        self.last = torch.zeros(0, device=self.device)
        """KL by slot of the bank; NaN: never drawn."""
        self.known = 0
        """Images of the bank's ring that have a slot in `last`."""
        self.drawn = torch.zeros(0, dtype=torch.int64, device=self.device)
        """Slots of the images of the newest update."""

    def update(self, bank: SampleBank) -> Tensor:
        """One update; then the images drawn for it have its KL."""
        loss = super().update(bank)
        # Images of the bank come first, then random shapes, then views of the teacher cache.
        new = self._each[: len(self.drawn)]
        self.last[self.drawn] = new.where(new.isfinite(), torch.nan)
        return loss

    def _loss_of_each(self, teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
        """The recipe's loss; keeps the KL (B,) of each view."""
        temperature = self.section.temperature
        each = kl_divergence(teacher_logits, student_logits, temperature)
        self._each = each.detach()
        return each.mean() * temperature**2

    def _of_bank(self, bank: SampleBank, count: int, randomness: torch.Generator) -> Tensor:
        assert isinstance(bank, SampleBuffer)
        self._make_slots(bank)
        chances = self.chances()
        self.drawn = torch.multinomial(chances, count, replacement=True, generator=randomness)
        return bank.store.read(lambda: self.drawn)

    def _make_slots(self, bank: SampleBuffer) -> None:
        """Images that are new in the bank were never drawn, whatever was in their slots before."""
        more = len(bank) - len(self.last)
        self.last = torch.cat([self.last, self.last.new_full((more,), torch.nan)])
        newest = torch.arange(self.known, bank.inserted, device=self.device)
        self.last[bank.before + newest % bank.capacity] = torch.nan
        self.known = bank.inserted

    def chances(self) -> Tensor:
        """With which probability each slot is drawn, (N,)."""
        seen = self.last[~self.last.isnan()]
        most = seen.max() if len(seen) else self.last.new_ones(())
        weights = self.last.where(~self.last.isnan(), most).double().clamp_min(1e-12)
        return self.uniform / len(weights) + (1 - self.uniform) * weights / weights.sum()

    def state_dict(self) -> dict[str, Any]:
        """The distiller's state and the KL of the bank's images."""
        return {**super().state_dict(), "last": self.last, "known": self.known}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        super().load_state_dict(state)
        self.last, self.known = state["last"].clone(), state["known"]


class FeatureDistiller(TimedDistiller):
    """Adds the distance of the student's maps to channels of the teacher's.

        L = L_logits + `weight` * sum over stages of mean (T - S)^2 / mean T^2

    S (F, c, h, w) is what the student's stage returns (`StageMaps` finds it) for the F new views of
    an update; T is c evenly spaced channels of the teacher's map of the same size. They are those
    from which the student's channels start with `student.start_from: teacher`. Stages in which the
    teacher has fewer channels are left out. Views of the teacher cache have no maps and are not
    compared.
    """

    weight: ClassVar[float] = 0.1

    def __init__(self, section: Any, task: Task, **more: Any):
        super().__init__(section, task, **more)
        assert not section.attention, "expected no distillation.attention"
        self.teacher = self.teacher_use.frozen(task.teacher, self.device)  # the folded has no maps
        found = (
            StageMaps(self.teacher, task.image_shape),
            StageMaps(self.module, task.student_shape),
        )
        sizes = common_stages(*found)
        self.names = [[maps.names[size] for size in sizes] for maps in found]
        """Modules of teacher and student that return the maps."""
        self.of_logits, self.loss = self.loss, self._with_features

    @contextmanager
    def _watching(self, network: int) -> Iterator[list[Tensor]]:
        """Collect maps of the teacher (0) or the student (1)."""
        with watching((self.teacher, self.module)[network], self.names[network]) as maps:
            yield maps
        if network == 1:
            self._followed = maps

    def follow_plainly(
        self, inputs: Tensor, teacher_logits: Tensor, *teacher_maps: Tensor
    ) -> Tensor:
        """One SGD step of the student on logits and maps; returns its loss."""
        self._taught = teacher_maps
        return super().follow_plainly(inputs, teacher_logits)

    def _with_features(self, teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
        loss = self.of_logits(teacher_logits, student_logits)
        return loss + self.weight * feature_loss(self._taught, self._followed)


class HeavyFeatureDistiller(FeatureDistiller):
    """The same with ten times the weight."""

    weight = 1.0


def feature_loss(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
    """Sum over stages of mean (T - S)^2 / mean T^2, where T are channels of the teacher's maps.

    Args:
        teacher: maps (F, C, h, w) of each stage.
        student: maps (B, c, h, w) of each stage, B >= F; the first F are compared.

    Returns:
        A scalar. Stages with C < c are left out.
    """
    distances = [torch.zeros(())]
    for whole, maps in zip(teacher, student, strict=True):
        followed = maps[: len(whole)]
        if followed.shape[1] <= whole.shape[1]:
            taught = evenly_spaced(whole, followed.shape)
            distance = (taught - followed).square().mean()
            distances.append(distance / taught.square().mean().clamp_min(1e-12))
    return torch.stack(distances).sum()


@contextmanager
def watching(network: nn.Module, names: Sequence[str]) -> Iterator[list[Tensor]]:
    """A context in which a forward pass fills the list with float results of named modules."""
    modules, found = dict(network.named_modules()), dict[str, Tensor]()

    def keeper(name: str) -> Any:
        def keep(_module: nn.Module, _inputs: Any, result: Tensor) -> None:
            found[name] = result.clone().float()  # the network may change its result in place

        return keep

    maps: list[Tensor] = []
    handles = [modules[name].register_forward_hook(keeper(name)) for name in names]
    try:
        yield maps
        maps += [found[name] for name in names]
    finally:
        for handle in handles:
            handle.remove()
