"""Distillers that are tried in `benchmarks/ablations.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmarks.timed_run import TimedDistiller
from fastdfkd.core.interfaces import SampleBank
from fastdfkd.core.losses import kl_divergence
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.core.task import Task
from fastdfkd.core.update_images import UpdateImages


@dataclass(frozen=True, kw_only=True)
class _Chosen(UpdateImages):
    """Images of the bank that the distiller chooses."""

    choose: Callable[[SampleBank, int, torch.Generator], Tensor]

    def from_bank(
        self, bank: SampleBank, update: int, count: int, randomness: torch.Generator
    ) -> Tensor:
        return self.choose(bank, count, randomness)


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
        assert self.images.first_round is None, "expected images drawn from the whole bank"
        self.images = _Chosen(**vars(self.images), choose=self._choose)
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

    def _choose(self, bank: SampleBank, count: int, randomness: torch.Generator) -> Tensor:
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


class MapsOfStages(TimedDistiller):
    """The recipe with `distillation.stage_maps`, the key that this trial became.

    The trial's own distiller and the key gave the same students bit for bit, so its rows hold.
    """

    weight: ClassVar[float] = 0.1

    def __init__(self, section: Any, task: Task, **more: Any):
        super().__init__(section.model_copy(update={"stage_maps": self.weight}), task, **more)


class HeavyMapsOfStages(MapsOfStages):
    """The same with ten times the weight."""

    weight = 1.0


class AdmittedImages(TimedDistiller):
    """Draws only images of the bank about which the teacher is sure.

    An image is admitted if the teacher's largest class probability for it is at least `least`. The
    teacher is asked once about each image, when the first update after its arrival is made. While
    no image is admitted, all are drawn.
    """

    least: ClassVar[float] = 0.9

    def __init__(self, section: Any, task: Task, **more: Any):
        super().__init__(section, task, **more)
        assert self.images.first_round is None, "expected images drawn from the whole bank"
        self.images = _Chosen(**vars(self.images), choose=self._choose)
        self.admitted = torch.zeros(0, dtype=torch.bool, device=self.device)
        """By slot of the bank, whose ring must not turn over."""

    def _choose(self, bank: SampleBank, count: int, randomness: torch.Generator) -> Tensor:
        assert isinstance(bank, SampleBuffer)
        assert bank.inserted <= bank.capacity, "expected a bank that keeps all images"
        known = len(self.admitted)
        if known < len(bank):
            new = torch.arange(known, len(bank), device=self.device)
            images = bank.store.read(lambda: new)
            self.admitted = torch.cat([self.admitted, self.confidence(images) >= self.least])
        chances = self.admitted.double()
        if not chances.any():
            chances = torch.ones_like(chances)
        drawn = torch.multinomial(chances, count, replacement=True, generator=randomness)
        return bank.store.read(lambda: drawn)

    def confidence(self, images: Tensor) -> Tensor:
        """The teacher's largest class probability (N,) for images (N, C, H, W) uint8."""
        use = self.teacher_use
        inputs = use.images(self.normalisation(images.float() / 255))
        with use.autocast(self.device, self.precision), torch.inference_mode():
            logits = self.ask_teacher(inputs)
        return logits.float().softmax(1).amax(1)

    def state_dict(self) -> dict[str, Any]:
        """The distiller's state and which images are admitted."""
        return {**super().state_dict(), "admitted": self.admitted}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        super().load_state_dict(state)
        self.admitted = state["admitted"].clone()


class OwnTemperature(TimedDistiller):
    """Sets T by the teacher's answers, without labels, in place of `distillation.temperature`.

    T is the one at which the mean entropy of the answers of an update is `part` of that of a
    uniform distribution, log K. Its logarithm is averaged over the updates, 0.9 of the old value.
    """

    part: ClassVar[float] = 0.25

    def __init__(self, section: Any, task: Task, **more: Any):
        super().__init__(section, task, **more)
        assert section.loss == "kl", f"expected distillation.loss kl: {section.loss}"
        self.log_temperature: float | None = None
        self.loss = self._loss

    def _loss(self, teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
        """KL at the averaged temperature, times its square; a scalar."""
        found = math.log(fitting_temperature(teacher_logits, self.part))
        old = found if self.log_temperature is None else self.log_temperature
        self.log_temperature = 0.9 * old + 0.1 * found
        temperature = math.exp(self.log_temperature)
        return kl_divergence(teacher_logits, student_logits, temperature).mean() * temperature**2

    def state_dict(self) -> dict[str, Any]:
        """The distiller's state and the temperature."""
        return {**super().state_dict(), "log_temperature": self.log_temperature}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        super().load_state_dict(state)
        self.log_temperature = state["log_temperature"]


@torch.no_grad()
def fitting_temperature(logits: Tensor, share: float) -> float:
    """The temperature, from 0.1 to 100, at which the mean entropy is `share` of log K.

    Args:
        logits: (B, K).
        share: from 0 to 1.
    """
    goal = share * math.log(logits.shape[1])
    low, high = math.log(0.1), math.log(100.0)
    for _ in range(20):  # the entropy rises with the temperature
        middle = (low + high) / 2
        chances = (logits / math.exp(middle)).log_softmax(1)
        entropy = float(-(chances.exp() * chances).sum(1).mean())
        low, high = (middle, high) if entropy < goal else (low, middle)
    return math.exp((low + high) / 2)
