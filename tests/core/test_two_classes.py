"""Two classes: one number per image, or two logits, give the same images and the same student."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.core.task import Task
from fastdfkd.core.task_kind import Classification
from fastdfkd.recipe import DistillationSection

from . import parts

UPDATES = 6


class OneNumber(nn.Module):
    """The last logit minus the first, before or after a sigmoid, or as two logits."""

    def __init__(self, network: nn.Module, output: str) -> None:
        super().__init__()
        self.network, self.output = network, output

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x)
        number = logits[:, -1] - logits[:, 0]
        if self.output == "binary_probability":
            return number.sigmoid()
        if self.output == "logits":
            return torch.stack([torch.zeros_like(number), number], 1)
        return number


def student_after(output: str, method: str) -> tuple[Tensor, list[dict[str, float]]]:
    """The student's logits for fixed images after three rounds, and the loss terms."""
    use = NetworkUse(output=output)
    teacher, student = (OneNumber(make(), output) for make in (parts.teacher, parts.student))
    task: Task = parts.task(
        teacher=teacher.eval(),
        student=student,
        kind=Classification(2),
        teacher_use=use,
        student_use=use,
    )
    section = {"fast": parts.fast_section, "deep": parts.deep_section}[method](adv=1.0)
    synthesizer = build_synthesizer(section, task)
    settings = DistillationSection(batch_size=4, lr=0.05, crop_padding=1)
    distiller = StudentDistiller(settings, task, total_updates=UPDATES)
    bank = SampleBuffer(section.rounds * section.batch_size, parts.IMAGE_SHAPE, "cpu")
    losses = []
    for round in range(3):
        synthesizer.load_student(distiller.student_state(), round)
        batch = synthesizer.synthesize(round)
        losses.append(dict(batch.provenance.losses))
        bank.insert(batch)
        for _ in range(UPDATES // 3):
            distiller.update(bank)
    student.load_state_dict(distiller.student_state())
    images = torch.randn(16, *parts.IMAGE_SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return use.logits(student.eval()(images)).softmax(1), losses


@pytest.mark.parametrize("method", ["fast", "deep"])
@pytest.mark.parametrize("output", ["binary_logit", "binary_probability"])
def test_one_number_equals_two_logits(output: str, method: str) -> None:
    """Rounding of the sigmoid makes later rounds differ; the first one has the same losses."""
    shares, losses = student_after(output, method)
    expected, terms = student_after("logits", method)
    assert losses[0] == pytest.approx(terms[0], rel=1e-2, abs=1e-3)
    assert all(math.isfinite(value) for row in losses for value in row.values())
    assert any(row["adv"] < 0 for row in losses[1:]), "the adversarial term takes part"
    assert torch.isfinite(shares).all()
    if output == "binary_logit":
        torch.testing.assert_close(shares, expected, rtol=1e-3, atol=1e-3)
