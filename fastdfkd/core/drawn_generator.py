"""Builds the generator that a recipe's section describes, with weights of a named random stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from fastdfkd.core.generators import Generator
from fastdfkd.core.noisy_generator import NoisyGenerator
from fastdfkd.core.random_streams import seeded, stream
from fastdfkd.core.spatial_generator import SpatialGenerator
from fastdfkd.core.task import Task


class GeneratorShape(Protocol):
    """The keys of a section that describe a generator."""

    @property
    def latent_dim(self) -> int:
        """Length of a latent code."""

    @property
    def generator_width(self) -> int:
        """Channels of the last hidden layer."""

    @property
    def output_norm(self) -> bool:
        """Whether a BatchNorm precedes the sigmoid."""


class CodesKeys(Protocol):
    """The keys of a section that say what latent codes are made of."""

    @property
    def codes(self) -> str:
        """`noise` or `classes`."""

    @property
    def class_vector_size(self) -> int:
        """Length of a drawn class vector."""


def class_vectors(section: CodesKeys, task: Task) -> Tensor | None:
    """The fixed vectors (K, D) of the classes on `task.device`; None if codes are noise.

    They are those of the task, or else N(0, 1) numbers that follow from its seed.

    Raises:
        ValueError: images have no class, or there is not one vector for each class.
    """
    if section.codes == "noise":
        return None
    kind, vectors = task.kind, task.class_vectors
    if kind.space(task.image_shape):
        raise ValueError(
            "synthesis.codes: classes needs one class for each image, and this task has one for "
            "each pixel: set synthesis.codes to noise"
        )
    if vectors is None:
        shape = kind.num_classes, section.class_vector_size
        vectors = torch.randn(shape, generator=stream(task.seed, "class-vectors"))
    if len(vectors) != kind.num_classes:
        raise ValueError(
            f"synthesis.class_vectors: expected one vector for each of {kind.num_classes} classes, "
            f"got {len(vectors)}"
        )
    return vectors.to(task.device, torch.get_default_dtype())


def drawn_generator(
    section: GeneratorShape,
    image_shape: Sequence[int],
    seed: int,
    *keys: str | int,
    device: torch.device | str = "cpu",
    vectors: Tensor | None = None,
    spatial: bool = False,
) -> Generator:
    """A generator for images (C, H, W) on `device`; its weights are of the stream `keys`.

    Args:
        section: its shape.
        image_shape: (C, H, W).
        seed: of the run.
        keys: name the stream.
        device: where it is put.
        vectors: (K, D), of the classes; None: it reads latent codes.
        spatial: its latent codes are maps.
    """
    shape = section.latent_dim, section.generator_width, image_shape, section.output_norm
    with seeded(seed, *keys):
        if spatial:
            generator: Generator = SpatialGenerator(*shape)
        else:
            generator = Generator(*shape) if vectors is None else NoisyGenerator(vectors, *shape)
    channels_last: Any = {"memory_format": torch.channels_last}
    generator.to(device, **channels_last)
    return generator
