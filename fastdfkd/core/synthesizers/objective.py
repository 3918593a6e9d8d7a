"""What every inversion method minimises: the teacher's memory of its data, classes, novelty."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.fused_norm import fused, recording
from fastdfkd.core.interfaces import StateDict
from fastdfkd.core.losses import one_hot_loss
from fastdfkd.core.precision import Precision, autocast

AdversarialLoss = Callable[[Tensor, Tensor], Tensor]
TERMS = ("loss", "bn", "oh", "adv")


class InversionObjective:
    """L = bn * L_bn + oh * L_oh + adv * L_adv on images as the networks see them (Eq. 1).

    Both networks are frozen, in eval mode; the student is a copy that `load_student` refreshes.
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        weights: tuple[float, float, float],
        adversarial_loss: AdversarialLoss,
        *,
        bn_momentum: float = 0.0,
        device: torch.device | str = "cpu",
        precision: Precision = "float32",
    ):
        self.device = torch.device(device)
        self.teacher = _frozen(teacher, self.device)
        self.student = _frozen(copy.deepcopy(student), self.device)
        self.fused_teacher, self.fused_student = fused(self.teacher), fused(self.student)
        self.student_version = 0
        self.bn, self.oh, self.adv = weights
        self.adversarial_loss = adversarial_loss
        self.precision = precision
        self.statistics = BatchNormStatistics(self.teacher, bn_momentum)

    def load_student(self, state: StateDict, version: int) -> None:
        """Take the student's newest weights."""
        self.student.load_state_dict(state)
        self.student_version = version

    @contextmanager
    def batch(self) -> Iterator[None]:
        """The steps of one batch: statistics are recorded inside, running estimates moved last."""
        recorder = self.statistics.record
        with self.statistics.watching(), recording(self.fused_teacher, recorder):
            yield
            if self.bn > 0:
                self.statistics.end_batch()

    def __call__(self, inputs: Tensor, labels: Tensor, adversarial: bool) -> Tensor:
        """Loss terms in the order of `TERMS`, (4,): only the first carries the gradient.

        Args:
            inputs: (B, C, H, W) normalised images.
            labels: (B,) int64.
            adversarial: whether the student takes part (not in warm-up).
        """
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.precision):
            teacher_logits = self.fused_teacher(inputs)
            student_logits = self.fused_student(inputs) if adversarial and self.adv > 0 else None
        teacher_logits = _exact(teacher_logits)
        oh = one_hot_loss(teacher_logits, labels)
        bn = self.statistics.loss() if self.bn > 0 else oh.new_zeros(())
        adv = oh.new_zeros(())
        if student_logits is not None:
            adv = self.adversarial_loss(teacher_logits, _exact(student_logits))
        loss = self.bn * bn + self.oh * oh + self.adv * adv
        return torch.stack([loss, bn.detach(), oh.detach(), adv.detach()])


def _frozen(model: nn.Module, device: torch.device) -> nn.Module:
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval().requires_grad_(False)


def _exact(logits: Tensor) -> Tensor:
    return logits if logits.dtype is torch.float64 else logits.float()


def draw_labels(count: int, num_classes: int, balanced: bool, generator: torch.Generator) -> Tensor:
    """Target classes, (count,) int64: uniform, or as equal in number as `count` allows."""
    device = generator.device
    if not balanced:
        return torch.randint(num_classes, (count,), generator=generator, device=device)
    order = torch.randperm(num_classes, generator=generator, device=device)
    return order[torch.arange(count, device=device) % num_classes]


class Best:
    """The images of the lowest-loss step, kept on the device without waiting for it.

    Its tensors are made by the first offer and changed in place from then on.
    """

    def __init__(self) -> None:
        self.terms: Tensor | None = None
        self.images: Tensor | None = None
        self.total: Tensor | None = None
        """Sum of all steps' terms: finite if and only if every one was."""

    def offer(self, terms: Tensor, images: Tensor) -> None:
        """Keep `images` if `terms[0]` is the lowest loss so far."""
        terms, images = terms.detach(), images.detach()
        if self.terms is None or self.images is None or self.total is None:
            self.terms, self.total = torch.empty_like(terms), torch.empty_like(terms)
            self.images = torch.empty_like(images)
            self.forget()
        better = terms[0] < self.terms[0]
        torch.where(better, terms, self.terms, out=self.terms)
        torch.where(better, images, self.images, out=self.images)
        self.total += terms

    def forget(self) -> None:
        """Before a new batch: any step is better than none."""
        if self.terms is not None and self.total is not None:
            self.terms.fill_(torch.inf)
            self.total.zero_()

    def take(self, round: int) -> tuple[Tensor, dict[str, float]]:
        """The images and the loss terms of their step. Waits for the device.

        Raises:
            FloatingPointError: the loss of some step was NaN or infinite, so that nothing may be
                learned from this batch.
        """
        assert self.terms is not None
        assert self.images is not None
        assert self.total is not None
        losses = dict(zip(TERMS, self.terms.tolist(), strict=True))
        if not torch.isfinite(self.total).all():
            raise FloatingPointError(
                f"synthesis of round {round} diverged: a loss became NaN or infinite (lowest: "
                f"{losses}); lower the learning rates or loss weights of synthesis, or use "
                "platform.precision=float32"
            )
        return self.images, losses
