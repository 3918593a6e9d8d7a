"""One student update: draw images, augment, run the teacher, train the student on its logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fastdfkd.core.capture_trial import capturable
from fastdfkd.core.captured import RECORDERS, Captured, captured, failures_of, release_steps
from fastdfkd.core.chained_updates import ChainedUpdates
from fastdfkd.core.compiled import Compiling
from fastdfkd.core.interfaces import SampleBank
from fastdfkd.core.map_losses import MapLosses
from fastdfkd.core.network_use import NetworkUse, load_state
from fastdfkd.core.optimizers import SGD
from fastdfkd.core.precision import resolve_precision
from fastdfkd.core.random_streams import seeded_on, stream
from fastdfkd.core.task import Task
from fastdfkd.core.task_kind import TaskKind
from fastdfkd.core.teacher_cache import TeacherCache
from fastdfkd.core.update_images import UpdateImages
from fastdfkd.core.views import preparing, views_of
from fastdfkd.core.worker_group import OneWorker, WorkerGroup, Workers

if TYPE_CHECKING:
    from fastdfkd.recipe import DistillationSection


Loss = Callable[[Tensor, Tensor], Tensor]
"""Loss of logits of teacher and student, (B, K, *space) each; a scalar."""


def _kl(kind: TaskKind, section: DistillationSection) -> Loss:
    temperature = section.temperature
    return lambda teacher, student: kind.distillation_loss(teacher, student, temperature)


def _l1(kind: TaskKind, _section: DistillationSection) -> Loss:
    return kind.logit_distance


LOSSES: dict[str, Callable[[TaskKind, DistillationSection], Loss]] = {"kl": _kl, "l1": _l1}
"""Values of `distillation.loss` to the loss."""


class StudentDistiller:
    """Implements `Distiller`: SGD on the distillation loss with a cosine learning rate.

    With several workers each draws its share of a batch from its own random stream. If they train
    `together`, they average their gradients (`core/worker_group.py`). They then capture the same
    steps (`Task.capture`), because NCCL wants an exchange to be part of a CUDA graph on all workers
    or on none.

    With `in_order` a worker takes its share of the next images of the update's round instead of
    drawing from the whole bank; which these are follows from the number of updates made.
    """

    def __init__(
        self,
        section: DistillationSection,
        task: Task,
        *,
        total_updates: int,
        warmup_rounds: int = 0,
        in_order: bool = False,
        rank: int = 0,
        world_size: int = 1,
        together: bool = False,
    ):
        self.section, self.normalisation, self.seed = section, task.normalisation, task.seed
        self.kind, self.student_form = task.kind, task.student_form
        self.device, self.precision = torch.device(task.device), task.precision
        self.rank, self.share = rank, section.batch_size // world_size
        first = warmup_rounds if in_order else None
        self.images = UpdateImages(section=section, first_round=first, offset=rank * self.share)
        self.loss = LOSSES[section.loss](task.kind, section)
        self.total_updates, self.updates = total_updates, 0
        self.teacher_use, self.student_use = task.teacher_use, task.student_use
        frozen = self.teacher_use.frozen(task.teacher, self.device)
        half = resolve_precision(self.device, self.precision) == "bfloat16"
        dtype = torch.bfloat16 if half else torch.float32
        reuse = section.teacher_cache
        self.cache = TeacherCache(reuse, self.share) if reuse else None
        self.views = views_of(section)
        self.module = self.student_use.placed(task.student, self.device)
        self.maps = MapLosses(section, task)
        self.teacher = frozen if self.maps else self.teacher_use.for_logits(frozen, dtype)
        self.workers: Workers = OneWorker()
        if together:
            idle = self.student_use.idle_parameters
            self.workers = WorkerGroup(self.module, self.maps.learned, idle_parameters=idle)
        self.optimizer = SGD(
            [*self.module.parameters(), *self.maps.learned.parameters()],
            section.lr,
            momentum=section.momentum,
            weight_decay=section.weight_decay,
        )
        self.compiling = Compiling(task, lambda: self.total_updates - self.updates)
        self._make_parts()
        self._uncaptured: list[str] = []
        asks = task.capture and self._capturable(frozen, self.teacher_use, task, task.image_shape)
        self.ask = captured(self.ask_plainly, task.device, asks)
        follows = task.capture and self._student_capturable(task)
        self.follow = captured(self.follow_plainly, task.device, follows, agree=self.workers.agree)
        if isinstance(self.follow, Captured):
            self.optimizer.lr = torch.zeros((), dtype=torch.float32, device=self.device)
        self.chain = ChainedUpdates(self, task)

    def _make_parts(self) -> None:
        """The parts of an update, which may be compiled. Compared maps need hooks in networks."""
        part, network = self.compiling.part, self.compiling.network
        module, agree = self.module, self.workers.agree
        self.prepare = part("the augmentation", preparing(self.views, self.normalisation))
        self.ask_teacher = self.teacher_use.asking(self.teacher)
        self.ask_student = self.student_use.asking(module)
        if not self.maps:
            self.ask_teacher = network("the teacher", self.teacher_use, self.teacher)
            self.ask_student = network("the student", self.student_use, module, agree)

    def _student_capturable(self, task: Task) -> bool:
        """Whether the student's part can be captured, on all workers."""
        without = "the student's steps run without cuda_graphs"
        trouble = self.workers.capture_trouble if self.device.type in RECORDERS else ""
        if trouble:
            self._uncaptured.append(f"{without} ({trouble})")
        shape = task.student_shape
        mine = not trouble and self._capturable(self.in_mode(), self.student_use, task, shape)
        found = self.workers.agree(mine)
        if mine and not found:
            self._uncaptured.append(f"{without} (those of another worker do)")
        return found

    def _capturable(
        self, network: nn.Module, use: NetworkUse, task: Task, image_shape: Sequence[int]
    ) -> bool:
        return capturable(network, use, image_shape, task.device, task.precision, self._uncaptured)

    @property
    def captures(self) -> bool:
        """Whether steps of the teacher or the student are captured."""
        steps = (self.ask, self.follow)
        return any(isinstance(step, Captured) and not step.failure for step in steps)

    @property
    def notes(self) -> list[str]:
        """What runs without CUDA graphs that was to run with them, and what is compiled; lines."""
        uncaptured = [*self._uncaptured, *failures_of(self), *failures_of(self.chain)]
        return uncaptured + self.compiling.notes

    def release(self) -> None:
        """Drop the recorded steps and return their memory. Later updates record them anew."""
        release_steps(self)
        release_steps(self.chain)

    @property
    def lr(self) -> float:
        """Learning rate of the next update: linear warm-up, then cosine by rounds."""
        section = self.section
        epochs = max(self.total_updates // section.updates_per_round, 1)
        epoch = min(self.updates // section.updates_per_round, epochs)
        cosine = (1 + math.cos(math.pi * epoch / epochs)) / 2
        warm = min((self.updates + 1) / (section.warmup_updates + 1), 1.0)
        return warm * (section.min_lr + (section.lr - section.min_lr) * cosine)

    def in_mode(self) -> nn.Module:
        """The student, in the mode in which it is trained."""
        return self.module.train(not self.section.frozen_norms)

    def update(self, bank: SampleBank) -> Tensor:
        """One student update on this worker's share of a batch; returns its loss, a scalar."""
        cache = self.cache
        fresh = cache.wanted if cache else self.share
        randomness, images, move = self.new_views(bank, fresh)
        seen, said = cache.draw(randomness) if cache else ([], [])
        views, inputs, logits, *maps = self.ask(images, *move, *seen)
        if cache:
            cache.insert(views, logits)
        self.in_mode()
        self.optimizer.set_lr(self.lr)
        with seeded_on(self.device, self.seed, "dropout", self.updates, self.rank):
            loss = self.follow(inputs, torch.cat([logits, *said]), *maps)
        self.updates += 1
        return loss.clone()  # the next call of a captured step overwrites its result

    def update_many(self, bank: SampleBank, count: int) -> Tensor:
        """`count` updates, several in one replay where they are captured; their losses, (count,).

        The student is that of `count` calls of `update`.
        """
        end, losses = self.updates + count, [torch.zeros(0, device=self.device)]
        while self.updates < end:
            if self.chain.fits(end - self.updates):
                losses.append(self.chain.make(bank))
            else:
                losses.append(self.update(bank)[None])
        return torch.cat(losses)

    def new_views(
        self, bank: SampleBank, count: int
    ) -> tuple[torch.Generator, Tensor, tuple[Tensor | None, ...]]:
        """The draws of the next update for `count` new views.

        Returns:
            The update's random numbers, for further draws; images (count, C, H, W) uint8; and what
            `Views.draw` drew for them.
        """
        randomness = stream(self.seed, "distillation", self.updates, self.rank, device=self.device)
        images = self.images.draw(bank, self.updates, count, randomness)
        return randomness, images, tuple(self.views.draw(count, randomness))

    def ask_plainly(self, images: Tensor, *draws_and_seen: Tensor | None) -> tuple[Tensor, ...]:
        """Augment images and run the teacher on them.

        Args:
            images: F new images (F, C, H, W) uint8.
            draws_and_seen: what `Views.draw` drew for them. Then at most one tensor: views
                (B - F, C, H, W) uint8 from the cache, whose teacher logits are known.

        Returns:
            The new views (F, C, H, W) uint8; all views, new ones first, as the student's input
            (B, C, h, w); the teacher's logits (F, K, *space) float32 for the new views; its
            maps for the new views, as far as they are compared (`core/map_losses.py`).
        """
        views, inputs = self.prepare(images, *draws_and_seen)
        fresh = self.teacher_use.images(inputs[: len(views)])
        inputs = self.student_use.images(self.student_form(inputs) if self.student_form else inputs)
        autocast = self.teacher_use.autocast(self.device, self.precision)
        with autocast, torch.inference_mode(), self.maps.watching_teacher() as maps:
            logits = self.ask_teacher(fresh)
        # Cloned, because autograd cannot save inference tensors for backward.
        return views, inputs, *(tensor.float().clone() for tensor in (logits, *maps))

    def follow_plainly(
        self, inputs: Tensor, teacher_logits: Tensor, *teacher_maps: Tensor
    ) -> Tensor:
        """One SGD step of the student; returns its loss.

        Args:
            inputs: (B, C, h, w), the student's.
            teacher_logits: (B, K, *space).
            teacher_maps: those of the first F inputs, as `ask_plainly` returned them.
        """
        self.workers.begin()
        autocast = self.student_use.autocast(self.device, self.precision)
        with autocast, self.maps.watching_student(teacher_maps) as maps:
            student_logits = self.ask_student(inputs)
        loss = self.loss(teacher_logits, student_logits.float())
        loss = self.maps.added_to(loss, teacher_maps, maps)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.workers.finish()
        self.optimizer.step()
        return loss.detach()

    def student_state(self) -> dict[str, Tensor]:
        """The student's weights and buffers."""
        return self.module.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Student, optimiser, number of updates, teacher cache, and what is learned for maps.

        The cache is that of this worker. All workers of a restarted group continue from it.
        """
        return {
            "student": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
            "teacher_cache": self.cache.state_dict() if self.cache else {},
            "maps": self.maps.learned.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        load_state(self.module, state["student"])
        load_state(self.maps.learned, state.get("maps", {}))  # versions before had none
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state["updates"]
        if self.cache:
            self.cache.load_state_dict(state["teacher_cache"], self.device)
