"""The student's own normalisation and size: one image, two forms."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.student_form import StudentForm

TEACHER = ImageSpec(
    name="x", shape=(3, 16, 12), num_classes=4, mean=(0.5, 0.2, 0.4), std=(0.5, 0.25, 0.3)
)
STUDENT = replace(TEACHER, shape=(3, 9, 20), mean=(0.1, 0.6, 0.3), std=(0.2, 0.4, 0.9))


@pytest.mark.parametrize("shape", [(3, 16, 12), (3, 9, 20)])
def test_from_pixels_and_from_the_teachers_input(shape: tuple[int, int, int]) -> None:
    student = replace(STUDENT, shape=shape)
    pixels = torch.rand(5, *TEACHER.shape, generator=torch.Generator().manual_seed(0))
    resized = F.interpolate(pixels, shape[1:], mode="bilinear", antialias=True)
    mean, std = (torch.tensor(each)[:, None, None] for each in (student.mean, student.std))
    expected = (resized - mean) / std
    torch.testing.assert_close(StudentForm.of_pixels(student, "cpu")(pixels), expected)
    teacher_input = TEACHER.normalisation("cpu")(pixels)
    form = StudentForm.of_teacher_input(TEACHER, student, "cpu")
    torch.testing.assert_close(form(teacher_input), expected)
    assert form.size == (None if shape == TEACHER.shape else shape[1:])


def test_gradients_reach_the_images() -> None:
    images = torch.rand(2, *TEACHER.shape, dtype=torch.float64, requires_grad=True)
    form = StudentForm.of_teacher_input(TEACHER, STUDENT, "cpu")
    assert torch.autograd.gradcheck(lambda x: nn.functional.relu(form(x)).sum(), images)
