"""Prepares the teacher: a given module, a network opened from weights, or one trained here."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fastdfkd.core.answers import output_of
from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.network_contract import check_student, check_teacher
from fastdfkd.core.network_use import copied, freeze
from fastdfkd.core.precision import resolve_precision
from fastdfkd.core.random_streams import seeded
from fastdfkd.data import Images, Judge, cache_folder
from fastdfkd.experiment import by_class, image_spec, judge_of, real_images
from fastdfkd.models import (
    brings_weights,
    load_weights,
    open_network,
    open_with_weights,
    plain_network,
    save_weights,
    source_files,
    weights_digest,
)
from fastdfkd.recipe import Recipe, TeacherSection
from fastdfkd.trainers.teacher_training import OnEpoch, train_classifier

log = logging.getLogger(__name__)
_CACHE_FORMAT = 2
_TRAINING = {"epochs", "batch_size", "lr", "weight_decay", "crop_padding", "flip"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Teacher:
    """A teacher that is ready for a run."""

    model: nn.Module
    """float32, frozen, in eval mode, on the requested device."""
    accuracy: float | None
    """Accuracy on the held-out real images, 0 to 1; None: there are none, or it predicts maps."""
    digest: str
    """SHA-256 (hex) of the weights; see `weights_digest`."""
    description: dict[str, Any]
    """Content of `teacher.json`: the source of the network and its properties."""


def prepare_teacher(
    recipe: Recipe,
    *,
    model: nn.Module | None = None,
    device: torch.device | str = "cpu",
    seed: int = 0,
    on_epoch: OnEpoch | None = None,
    before_work: Callable[[], None] | None = None,
    train: bool = True,
    judge: Judge | None = None,
) -> Teacher:
    """The teacher of a recipe: `model` if given, else with weights, else trained and cached.

    Args:
        recipe: its `data` and `teacher` sections and `synthesis.bn` are used.
        model: a network of the user; it is copied and not modified.
        device: device of training and evaluation, and of the result.
        seed: seed of training. It is not the recipe's, so that runs of many seeds share a teacher.
        on_epoch: called after every epoch of training.
        before_work: called once, when the network is open, before it is trained or evaluated. What
            it raises ends the preparation.
        train: whether a teacher that is not in the cache is trained. If not, it has its initial
            weights, and the `source` of its description is `untrained`.
        judge: evaluates the teacher; unset: that of the recipe.

    Raises:
        ValueError: the weights cannot be read or do not fit, training diverges, real images are
            missing, or the network cannot be used (`check_teacher`). The message says what to do.
    """
    started = time.perf_counter()
    spec, device = image_spec(recipe), torch.device(device)
    before_work = None if before_work is None else functools.cache(before_work)  # called once
    if judge is None:
        judge_of(recipe)  # missing test images are an error before anything is trained
    run = _TrainingRun(recipe, seed, device)
    trained = functools.partial(run.train_or_load, on_epoch, before_work, train)
    network, facts = _network(recipe.teacher, spec, model, trained)
    freeze(network.float().to(device).to(memory_format=torch.contiguous_format))  # type: ignore[call-overload]
    output, bn = output_of(recipe.teacher), recipe.synthesis.bn_weight
    check_teacher(network, spec.shape, spec.kind, bn, output=output)
    if before_work is not None:
        before_work()
    if judge is None:
        judge = judge_of(recipe, network, device=device)
    answers = judge.answers(network, spec.normalisation(device), device, output=output)
    figures = judge.figures(answers)
    digest = weights_digest(network.state_dict())
    facts |= {
        "data": spec.name,
        "input": spec.facts(),
        "accuracy": None,
        **figures,
        **({"class_ious": by_class(spec, answers.class_ious)} if answers.class_ious else {}),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "digest": digest,
        "seconds": time.perf_counter() - started,
    }
    score = figures.get("accuracy")
    return Teacher(model=network, accuracy=score, digest=digest, description=facts)


def _network(
    section: TeacherSection,
    spec: ImageSpec,
    model: nn.Module | None,
    trained: Callable[[], tuple[nn.Module, dict[str, Any]]],
) -> tuple[nn.Module, dict[str, Any]]:
    """The teacher's network, from the first source that there is, and facts for `teacher.json`."""
    if model is not None:
        network = copied(plain_network(model, "the teacher"))
        return network, {"source": "module", "model": type(model).__qualname__}
    if section.weights is not None or brings_weights(section):
        return _opened(section, spec)
    return trained()


def _opened(section: TeacherSection, spec: ImageSpec) -> tuple[nn.Module, dict[str, Any]]:
    """A teacher that is not trained here, and facts for `teacher.json`."""
    if section.weights is None:
        network = open_network(section, spec)
        return network, {"source": "network", "model": section.model}
    path = Path(section.weights).expanduser()
    found = open_with_weights(section, spec, path, entry=section.entry)
    facts: dict[str, Any] = {
        "source": "weights",
        "model": section.model,
        "weights": str(path.absolute()),
    }
    if found.weights is not None:
        facts["opened"] = found.weights.facts()
    return found.network, facts


@dataclass(frozen=True)
class _TrainingRun:
    """Everything that determines the weights of a trained teacher."""

    recipe: Recipe
    seed: int
    device: torch.device

    @property
    def precision(self) -> str:
        """The precision of the recipe, resolved for the device."""
        return resolve_precision(self.device, self.recipe.teacher.precision)

    def train_or_load(
        self, on_epoch: OnEpoch | None, before_work: Callable[[], None] | None, train: bool
    ) -> tuple[nn.Module, dict[str, Any]]:
        """The trained network and facts for `teacher.json`; a damaged cache file is replaced.

        Without `train` a network that is not in the cache is returned untrained.
        """
        section, spec = self.recipe.teacher, image_spec(self.recipe)
        with seeded(self.seed, "teacher", "weights"):
            network = open_network(section, spec)
        shape, kind, output = spec.shape, spec.kind, output_of(section)
        check_teacher(network, shape, kind, self.recipe.synthesis.bn_weight, output=output)
        check_student(
            network, shape, kind, output=output, batch_size=section.batch_size, role="teacher"
        )
        data = real_images(self.recipe).load("train", spec)
        if data is None:
            raise ValueError(
                "teacher.weights: unset, so the teacher would be trained, but data.name is "
                f"{self.recipe.data.name}, which has no training images: set teacher.weights to "
                "the weights of a trained teacher, or data.train to the training images"
            )
        path = cache_folder() / "teachers" / f"{self.key(data)[:16]}.safetensors"
        settings = section.model_dump(include=_TRAINING)
        facts = {
            "source": "trained",
            "model": section.model,
            "weights": str(path),
            "training": {**settings, "seed": self.seed, "precision": self.precision},
        }
        try:
            load_weights(network, path)
            return network, {**facts, "cached": True}
        except ValueError:  # missing or damaged
            if not train:
                return network, {**facts, "source": "untrained", "cached": False}
            if before_work is not None:
                before_work()
            train_classifier(
                network,
                data,
                spec,
                section,
                seed=self.seed,
                device=self.device,
                on_epoch=on_epoch,
            )
        try:
            save_weights(path, network)
        except OSError as error:
            log.warning("the teacher cannot be cached for the next run: %s", error)
        return network, {**facts, "cached": False}

    def key(self, train: Images) -> str:
        """SHA-256 (hex) of everything but the device; names the cache file."""
        spec = image_spec(self.recipe)
        content = [
            _CACHE_FORMAT,
            (spec.name, spec.mean, spec.std, train.digest()),
            self.recipe.teacher.model_dump(
                exclude={"weights", "precision", *self.recipe.teacher.silent}
            ),
            (self.seed, self.precision),
            *(file.text for file in source_files(self.recipe, "teacher")),
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
