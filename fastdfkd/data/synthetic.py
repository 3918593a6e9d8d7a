"""The judge that needs no real image: it compares student and teacher on synthetic ones."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastdfkd.core.confusion import confusion
from fastdfkd.core.evaluation import Evaluated, Predictor, Watch, logits_of
from fastdfkd.core.held_out import PLAIN, agreement_figures, held_out_images, views_of
from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.random_streams import stream
from fastdfkd.core.task import Task
from fastdfkd.core.task_kind import TaskKind
from fastdfkd.data.cache import cached_arrays
from fastdfkd.data.judge import Judge, images_at_once
from fastdfkd.recipe.methods.held_out import HeldOutSynthesis
from fastdfkd.recipe.methods.teacher_traits import TeacherTraits

DEFAULT_IMAGES = 2000
"""Held-out synthetic images where there is no real test image and the recipe sets no number."""

log = logging.getLogger(__name__)
_FORMAT = 1
_EVERY_S = 30.0
_POSITIONS = 64
"""Pixels of each image that networks for maps are compared on, drawn once."""


@dataclass(frozen=True, eq=False)
class SyntheticImages(Judge):
    """Compares a student with its teacher on held-out synthetic images. It measures no accuracy."""

    images: Tensor
    """(N, C, H, W) uint8."""
    kind: TaskKind
    judged_on: str = "held-out synthetic images"

    def __len__(self) -> int:
        return len(self.images)

    def answers_of(self, predictor: Predictor, watch: Watch | None = None) -> Evaluated:
        """Logits for the images, and for a mixed and an augmented view of them.

        Of maps, the logits of a sample of their pixels.
        """
        size = images_at_once((*self.images.shape[1:],))
        sample = self._positions()
        logits = {
            name: logits_of(predictor, view, self.kind, size, sample)
            for name, view in views_of(self.images).items()
        }
        return Evaluated(classes=torch.zeros(0, dtype=torch.int64), figures={}, logits=logits)

    def _positions(self) -> Tensor | None:
        """(N, S) int64, pixels drawn uniformly for each image; None if there are no maps."""
        space = self.kind.space(self.images.shape[1:])
        if not space:
            return None
        shape = (len(self.images), min(_POSITIONS, math.prod(space)))
        return torch.randint(math.prod(space), shape, generator=stream(0, "judge", "positions"))

    def figures(
        self, answers: Evaluated, teacher_answers: Evaluated | None = None
    ) -> dict[str, float]:
        """What `core.held_out.agreement_figures` returns, its names after `synthetic_`.

        Empty without the teacher's answers: there are no labels.
        """
        if teacher_answers is None:
            return {}
        found = agreement_figures(answers.logits, teacher_answers.logits)
        return {f"synthetic_{name}": value for name, value in found.items()}

    def confusions(self, answers: Evaluated, teacher_answers: Evaluated) -> dict[str, Tensor]:
        """Against the teacher, on the images as they are; of maps, at the sample of pixels."""
        taught, found = (each.logits[PLAIN].argmax(1) for each in (teacher_answers, answers))
        pairs = confusion(taught, found, self.kind.num_classes)
        return {} if pairs is None else {"teacher": pairs}


class _Progress:
    """Logs that images are being made, and then every `_EVERY_S` seconds how many batches are."""

    def __init__(self, settings: HeldOutSynthesis) -> None:
        self._made, self._rounds = 0, settings.all_rounds
        self._newest = time.monotonic()
        log.warning(
            "making %s held-out synthetic images from the teacher, to compare the student with it: "
            "%s batches of %s images, %s steps each; they are kept in the cache",
            f"{settings.count:,}",
            f"{self._rounds:,}",
            f"{settings.section.batch_size:,}",
            settings.section.steps,
        )

    def after_round(self) -> None:
        self._made += 1
        if time.monotonic() - self._newest >= _EVERY_S:
            self._newest = time.monotonic()
            log.warning("held-out synthetic images: %d of %d batches", self._made, self._rounds)


def synthetic_images(
    task: Callable[[], Task], spec: ImageSpec, count: int, *, traits: TeacherTraits, key: str
) -> Tensor:
    """Held-out synthetic images of a teacher, (count, C, H, W) uint8, made once and cached.

    Args:
        task: returns teacher and device, see `held_out_images`; called where images are made.
        spec: the images' description.
        count: number of images.
        traits: what the teacher offers to synthesis.
        key: tells this teacher from all others.

    Raises:
        FloatingPointError: a loss became NaN or infinite.
    """
    settings = HeldOutSynthesis(count, spec.shape, traits, spec.task)
    about = [key, spec.num_classes, spec.mean, spec.std, settings.section.model_dump()]
    content = [_FORMAT, count, spec.shape, *about]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def make() -> dict[str, Any]:
        told = _Progress(settings)
        return {"images": held_out_images(settings, task(), told.after_round).numpy()}

    shapes = {"images": (count, *spec.shape)}
    arrays: Mapping[str, Any] = cached_arrays(f"synthetic-{digest[:16]}", shapes, make)
    return torch.from_numpy(arrays["images"])
