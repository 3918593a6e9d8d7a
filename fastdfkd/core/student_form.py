"""One image in the form of the teacher and in that of the student: normalisation and size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fastdfkd.core.image_spec import ImageSpec


@dataclass(frozen=True, eq=False)
class StudentForm:
    """Maps images in one form to the student's input: resizes them, then scales each channel.

    Resizing is bilinear with antialiasing, as by `F.interpolate(..., antialias=True)`. Gradients
    flow through both.
    """

    scale: Tensor
    """(1, C, 1, 1)."""
    shift: Tensor
    """(1, C, 1, 1)."""
    size: tuple[int, int] | None
    """Height and width of the student's images; None: they keep theirs."""

    @classmethod
    def of_pixels(cls, student: ImageSpec, device: torch.device | str) -> StudentForm:
        """From images in [0, 1], of any size."""
        mean, std = _moments(student, device)
        return cls(1 / std, -mean / std, (student.shape[1], student.shape[2]))

    @classmethod
    def of_teacher_input(
        cls, teacher: ImageSpec, student: ImageSpec, device: torch.device | str
    ) -> StudentForm:
        """From normalised images of the teacher."""
        mean, std = _moments(student, device)
        teacher_mean, teacher_std = _moments(teacher, device)
        size = None if student.shape == teacher.shape else (student.shape[1], student.shape[2])
        return cls(teacher_std / std, (teacher_mean - mean) / std, size)

    def __call__(self, images: Tensor) -> Tensor:
        """Student inputs (B, C, h, w) of images (B, C, H, W) float."""
        if self.size is not None and tuple(images.shape[2:]) != self.size:
            images = F.interpolate(images, self.size, mode="bilinear", antialias=True)
        return images * self.scale + self.shift


def _moments(spec: ImageSpec, device: torch.device | str) -> tuple[Tensor, Tensor]:
    normalisation = spec.normalisation(device)
    return normalisation.mean, normalisation.std
