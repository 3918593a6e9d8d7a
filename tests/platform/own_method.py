"""A method as a user adds one: a recipe section and a class.

The method learns one image. Each batch is that image with noise, and gives one gradient step that
increases the distance between the logits of teacher and student.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from fastdfkd.core.batch import Provenance, SyntheticBatch, to_uint8
from fastdfkd.core.interfaces import MetaUpdate, StateDict
from fastdfkd.core.optimizers import Adam
from fastdfkd.core.random_streams import batch_stream, stream
from fastdfkd.core.task import Task
from fastdfkd.recipe import SynthesisSection
from fastdfkd.recipe.numbers import Rate


class OneImageSynthesis(SynthesisSection):
    """Keys of the method."""

    implementation: ClassVar[str] = f"{__name__}:OneImage"

    method: Literal["one_image"]
    """Selects it."""
    lr: Rate = 0.1
    """Learning rate of the image."""

    @property
    def shares_generator(self) -> bool:
        return True


class Picture:
    """Implements `SharedGenerator`. Its one parameter is the image before the sigmoid."""

    def __init__(self, lr: float, shape: Sequence[int]):
        self.pixels, self.version = torch.zeros(tuple(shape)), 0
        self.optimizer = Adam([self.pixels], lr, (0.5, 0.999))

    def begin(self, round: int) -> None:
        pass

    def learn(self, updates: Sequence[MetaUpdate]) -> None:
        gradients = [u.tensors[0] for u in sorted(updates, key=lambda update: update.round)]
        self.pixels.grad = torch.stack(gradients).mean(0)
        self.optimizer.step()
        self.version += 1

    def shared_state(self) -> dict[str, Any]:
        return {"pixels": self.pixels, "version": self.version}

    def state_dict(self) -> dict[str, Any]:
        return {**self.shared_state(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.pixels.copy_(state["pixels"])
        self.version = state["version"]
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])


class OneImage:
    """Implements `Synthesizer`."""

    def __init__(self, section: OneImageSynthesis, task: Task, index: int = 0):
        self.section, self.task, self.index = section, task, index
        self.teacher = copy.deepcopy(task.teacher).eval().requires_grad_(False)
        self.student = copy.deepcopy(task.student).eval().requires_grad_(False)
        self.student_version = 0
        self.picture = self.shared_generator(section, task)

    @classmethod
    def shared_generator(cls, section: OneImageSynthesis, task: Task) -> Picture:
        return Picture(section.lr, task.image_shape)

    def load_generator(self, state: Mapping[str, Any]) -> None:
        self.picture.load_state_dict(state)

    def load_student(self, state: StateDict, version: int) -> None:
        self.student.load_state_dict(state)
        self.student_version = version

    def make(self, round: int, attempt: int = 0) -> tuple[SyntheticBatch, MetaUpdate]:
        pixels = self.picture.pixels.detach().clone().requires_grad_()
        randomness = stream(self.task.seed, *batch_stream(round, attempt))
        shape = self.section.batch_size, *pixels.shape
        images = torch.sigmoid(pixels + torch.randn(shape, generator=randomness))
        teacher, student = self._answers(images)
        distance = (teacher - student).abs().mean()
        (gradient,) = torch.autograd.grad(-distance, pixels)
        provenance = Provenance(
            round=round,
            synthesizer=self.index,
            student_version=self.student_version,
            generator_version=self.picture.version,
            losses={"loss": -float(distance.detach())},
        )
        batch = SyntheticBatch(
            images=to_uint8(images), labels=teacher.argmax(1), provenance=provenance
        )
        return batch, MetaUpdate(round, [gradient])

    def learn(self, updates: Sequence[MetaUpdate]) -> None:
        self.picture.learn(updates)

    def synthesize(self, round: int, attempt: int = 0) -> SyntheticBatch:
        batch, update = self.make(round, attempt)
        self.learn([update])
        return batch

    def state_dict(self) -> dict[str, Any]:
        return self.picture.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.picture.load_state_dict(state)

    def _answers(self, images: Tensor) -> tuple[Tensor, Tensor]:
        inputs = self.task.normalisation(images)
        return self.teacher(inputs), self.student(inputs)
