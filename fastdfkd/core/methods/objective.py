"""The loss of the synthesis methods: BatchNorm statistics, classes, adversarial term, priors.

The form is that of arXiv 2112.06253. The adversarial term and the form of L_bn are arguments, which
a method chooses; `core/losses.py` and `core/bn_statistics.py` name their sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.compiled import Compiling
from fastdfkd.core.fused_norm import recording
from fastdfkd.core.interfaces import StateDict
from fastdfkd.core.methods.loss_terms import DivergedError
from fastdfkd.core.methods.priors import NO_PRIORS, Priors, PriorWeights
from fastdfkd.core.network_use import NetworkUse, copied, load_state
from fastdfkd.core.pooled_features import Kind, PooledFeatures, pooled_features
from fastdfkd.core.recorded_teacher import RecordedTeacher
from fastdfkd.core.task import Task

T = TypeVar("T")
AdversarialLoss = Callable[[Tensor, Tensor], Tensor]
StatisticsLoss = Callable[[BatchNormStatistics], Tensor]
STUDENT_NOT_READY = (
    "the student's logits in eval mode are NaN or infinite for synthetic images, as an untrained "
    "student's may be while its BatchNorm statistics are not yet warm: the adversarial term is "
    "left out until they are finite"
)


class InversionObjective:
    """L = bn * L_bn + oh * L_oh + adv * L_adv on normalised images (Eq. 1 of arXiv 2112.06253).

    The priors (`core/methods/priors.py`) are added to L if they have weights. Both networks are
    frozen and in eval mode. The student is a copy; `load_student` updates it. `bn_loss` computes
    L_bn from the statistics of the newest forward pass.
    """

    def __init__(
        self,
        task: Task,
        weights: tuple[float, float, float],
        adversarial_loss: AdversarialLoss,
        *,
        bn_momentum: float = 0.0,
        bn_loss: StatisticsLoss = BatchNormStatistics.loss,
        priors: PriorWeights = NO_PRIORS,
        own_labels: bool = False,
    ):
        self.kind = task.kind
        self.own_labels = own_labels
        """Whether L_oh takes the classes that the teacher predicts, whatever the labels."""
        self.device, self.precision = torch.device(task.device), task.precision
        self.teacher_use, self.student_use = task.teacher_use, task.student_use
        self.teacher = self.teacher_use.frozen(task.teacher, self.device)
        self.student = self.student_use.frozen(copied(task.student), self.device)
        self.fused_teacher = self.teacher_use.fused(self.teacher)
        self.fused_student = self.student_use.fused(self.student)
        self.student_form = task.student_form
        self.student_version = 0
        self.bn, self.oh, self.adv = weights
        self.adversarial_loss = adversarial_loss
        self.statistics, self.bn_loss = BatchNormStatistics(self.teacher, bn_momentum), bn_loss
        self.priors = Priors(priors)
        self.features: PooledFeatures | None = None
        """Collects the teacher's features in every call, if set."""
        self.calls_left: Callable[[], int] = lambda: 0
        """Steps that are still to be made."""
        self.compiling = Compiling(task, lambda: self.calls_left())
        self._make_parts()
        self.answers: Tensor
        """The teacher's logits (B, K, *space) in the newest call, without a gradient."""

    def _make_parts(self) -> None:
        """The parts of a step, which may be compiled: a forward pass of each network."""
        self.recorded: RecordedTeacher | None = None
        """The teacher, where it is to be compiled and records its statistics itself."""
        teacher, parts = self.fused_teacher, self.compiling
        if parts.wanted and RecordedTeacher.knows_all(teacher, self.statistics):
            self.recorded = RecordedTeacher(teacher, self.teacher_use, self.statistics, parts.part)
        self.ask_student = parts.network("the student", self.student_use, self.fused_student)

    def load_student(self, state: StateDict, version: int) -> None:
        """Take the student's newest weights."""
        load_state(self.student, state)
        self.student_version = version

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Context of the steps of a batch.

        Inside, the teacher's BatchNorm statistics are recorded. At the end the running estimates
        are updated.
        """
        recorder = self.statistics.record
        with self.statistics.watching(), recording(self.fused_teacher, recorder):
            yield
            if self.bn > 0:
                self.statistics.end_batch()

    def __call__(self, inputs: Tensor, labels: Tensor | None, adversarial: bool) -> Tensor:
        """The loss terms in the order of `loss_terms.TERMS`, (4,). Only the first has a gradient.

        Args:
            inputs: (B, C, H, W) images, normalised for the teacher.
            labels: (B, *space) int64; None: the classes that the teacher assigns to the images.
            adversarial: whether the loss has its adversarial term (not in warm-up).
        """
        inputs = self.teacher_use.images(inputs)
        features = nullcontext() if self.features is None else self.features.watching()
        with self.priors.watching(), features:
            teacher_logits = self._ask_teacher(inputs)
        self.answers = teacher_logits.detach()
        student_logits = None
        if adversarial and self.adv > 0:
            seen = inputs if self.student_form is None else self.student_form(inputs)
            student_logits = self._through(self.student_use, self.ask_student, seen)
        if labels is None or self.own_labels:
            labels = self.answers.argmax(1)
        oh = self.kind.one_hot_loss(teacher_logits, labels)
        bn = self.bn_loss(self.statistics) if self.bn > 0 else oh.new_zeros(())
        adv = oh.new_zeros(())
        if student_logits is not None:
            adv = self.adversarial_loss(teacher_logits, student_logits)
        loss = self.bn * bn + self.oh * oh + self.adv * adv
        loss = self.priors.added(loss, teacher_logits)
        return torch.stack([loss, bn.detach(), oh.detach(), adv.detach()])

    def observe(self, kind: Kind, image_shape: Sequence[int]) -> int:
        """Collect the teacher's features from now on; return their number D."""
        image = torch.zeros(1, *image_shape, device=self.device)
        run = partial(self._ask, self.teacher_use, self.fused_teacher, image)
        self.features, count = pooled_features(self.fused_teacher, kind, run)
        return count

    def features_of(self, inputs: Tensor) -> Tensor:
        """The teacher's features (B, D) for other images of the batch, which L_bn does not see."""
        assert self.features is not None
        unseen = self.statistics.paused(), recording(self.fused_teacher, None)
        with unseen[0], unseen[1], self.features.watching():
            self._ask(self.teacher_use, self.fused_teacher, inputs)
        return self.features.taken()

    def make(
        self, batch: Callable[[bool], T], adversarial: bool, first: Callable[[], Tensor]
    ) -> tuple[T, str]:
        """Make a batch. Make it again without the adversarial term if that term is not finite.

        The BatchNorm statistics of an untrained student may be so far from its data that its logits
        in eval mode are NaN or infinite.

        Args:
            batch: makes the batch with or without the adversarial term, from the same random
                numbers at each call.
            adversarial: whether the loss should have its adversarial term.
            first: computes the normalised images (B, C, H, W) with which the first step starts.

        Returns:
            The batch, and a note if the adversarial term was left out, else "".

        Raises:
            DivergedError: the loss was not finite; its message names the cause if it is found.
        """
        adversarial = adversarial and self.adv > 0
        try:
            return batch(adversarial), ""
        except DivergedError as error:
            if not (adversarial and set(error.terms) <= {"loss", "adv"}):
                raise self._explained(error, first()) from None
        try:
            return batch(False), STUDENT_NOT_READY
        except DivergedError as error:
            raise self._explained(error, first()) from None

    @torch.no_grad()
    def _explained(self, error: DivergedError, first: Tensor) -> DivergedError:
        """The error with its cause: what was not finite in the first step, if anything."""
        if not torch.isfinite(first).all():
            cause = (
                "the generator's first images are not finite already: lower the learning rates of "
                "synthesis"
            )
        elif not torch.isfinite(self._ask(self.teacher_use, self.fused_teacher, first)).all():
            cause = (
                "the teacher's logits for the first images are not finite: check it on real "
                "images, or use platform.precision=float32"
            )
        else:
            cause = ""
        return DivergedError(error.round, error.terms, cause)

    def _ask_teacher(self, inputs: Tensor) -> Tensor:
        """The teacher's logits; its statistics are recorded."""
        watched = self.features is not None or self.priors.weights.activation > 0
        if self.recorded is None or self.recorded.stays_plain or watched:
            return self._ask(self.teacher_use, self.fused_teacher, inputs)
        return self._through(self.teacher_use, self.recorded, inputs)

    def _ask(self, use: NetworkUse, network: nn.Module, inputs: Tensor) -> Tensor:
        """Run a network; return its logits (B, K) as float32 or float64."""
        return self._through(use, use.asking(network), inputs)

    def _through(self, use: NetworkUse, ask: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """What `ask` says of inputs, as float32 or float64; it runs a network under autocast."""
        with use.autocast(self.device, self.precision):
            logits = ask(use.images(inputs))
        return logits if logits.dtype is torch.float64 else logits.float()
