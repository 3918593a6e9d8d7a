"""The judge of a recipe: real test images, synthetic images, both, or nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from fastdfkd.core.answers import output_of
from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.network_trial import find_network_use
from fastdfkd.core.network_use import copied
from fastdfkd.core.task import Task
from fastdfkd.core.teacher_traits import traits_of
from fastdfkd.data import (
    DEFAULT_IMAGES,
    Judge,
    NothingHeldOut,
    PartOfImages,
    RealAndSynthetic,
    RealImages,
    SyntheticImages,
    images_at_once,
    synthetic_images,
)
from fastdfkd.experiment.images import image_spec, real_images
from fastdfkd.models import source_files, weights_digest, without_parametrisations
from fastdfkd.recipe import Recipe
from fastdfkd.runs.figures import SYNTHETIC, main_figure


def judge_of(
    recipe: Recipe,
    teacher: nn.Module | None = None,
    *,
    root: str | Path | None = None,
    device: torch.device | str = "cpu",
    most: int | None = None,
) -> Judge:
    """The judge of a recipe: its test split, synthetic images, both, or nothing.

    Args:
        recipe: of the experiment.
        teacher: synthetic images are made from it. Without it there are none.
        root: replaces `data.root` if set.
        device: where synthetic images are made, unless the cache has them.
        most: use no more real images than these.

    Raises:
        ValueError: image files are missing or damaged, or do not fit `input`.
    """
    spec = image_spec(recipe)
    test = real_images(recipe, root).load("test", spec)
    if test is not None and most is not None and most < len(test):
        test = PartOfImages.of(test, most)
    real = None if test is None else RealImages(test, spec.kind, images_at_once(spec.shape))
    count = _synthetic_count(recipe, has_test=real is not None)
    if teacher is None or not count:
        return real or NothingHeldOut()
    synthetic = _synthetic_judge(recipe, teacher, spec, count, torch.device(device))
    return RealAndSynthetic(real, synthetic) if real else synthetic


def compared_by(recipe: Recipe) -> str:
    """The figure by which a recipe's students are compared, by its column in `metrics.csv`.

    Raises:
        ValueError: image files are missing or damaged.
    """
    spec = image_spec(recipe)
    if real_images(recipe).load("test", spec) is not None:
        return main_figure(spec.kind.figures)
    return main_figure(SYNTHETIC if _synthetic_count(recipe, has_test=False) else ())


def _synthetic_count(recipe: Recipe, *, has_test: bool) -> int:
    count = recipe.evaluation.synthetic_images
    return count if count is not None else 0 if has_test else DEFAULT_IMAGES


def _synthetic_judge(
    recipe: Recipe, teacher: nn.Module, spec: ImageSpec, count: int, device: torch.device
) -> SyntheticImages:
    output = output_of(recipe.teacher)

    def task() -> Task:
        network = without_parametrisations(copied(teacher))
        use = find_network_use(
            network, spec.shape, output=output, spatial_axes=spec.kind.spatial_axes
        )
        return Task(
            teacher=network,
            student=network,  # there is no student: the adversarial term is off
            teacher_use=use,
            student_use=use,
            image_shape=spec.shape,
            kind=spec.kind,
            normalisation=spec.normalisation(device),
            seed=0,
            device=device,
        )

    traits = traits_of(teacher, spec.shape)
    files = "".join(f"{file.module_name} " for file in source_files(recipe, "teacher"))
    name = f"{files}{type(teacher).__qualname__}"
    key = f"{name} {output} {weights_digest(teacher.state_dict())}"
    return SyntheticImages(synthetic_images(task, spec, count, traits=traits, key=key), spec.kind)
