"""Teachers of eight families: their networks, the terms that are shown, and the table."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import student_rows, teachers
from benchmarks.teachers import FAMILIES, StepTerms, page
from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.evaluation import Evaluated
from fastdfkd.core.methods.loss_terms import DivergedError
from fastdfkd.experiment import image_spec
from fastdfkd.models import open_network
from fastdfkd.recipe import load_recipe


@pytest.mark.parametrize("label", FAMILIES)
def test_a_family_is_a_small_network_with_statistics(label: str) -> None:
    changes = {"teacher.model": FAMILIES[label].model}
    recipe = load_recipe("glyphs-fast5", changes)
    network = open_network(recipe.teacher, image_spec(recipe))
    images = torch.randn(3, 3, 32, 32, requires_grad=True)
    logits = network(images)
    assert logits.shape == (3, 26)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert 50_000 < sum(parameter.numel() for parameter in network.parameters()) < 300_000
    layers = BatchNormStatistics(network).layers
    norms = sum(isinstance(each, nn.GroupNorm) for each in network.modules())
    assert len(layers) >= 6
    assert (norms > 0) == (label == "mixed norms")


def test_terms_of_the_first_and_the_last_step_of_a_round() -> None:
    values = iter([[9.0, 9, 9, 9], [1.0, 2, 3, 4], [2.0, 2, 2, 2], [3.0, 4, 5, 6], [0.0, 1, 1, 1]])
    terms = StepTerms(lambda *_: torch.tensor(next(values)))
    empty = torch.zeros(0)
    for adversarial in (False, True, True, True, True):
        terms(empty, None, adversarial)
    assert terms.means(2) == {
        "loss_first": 2.0,
        "loss_last": 1.0,
        "bn_first": 3.0,
        "bn_last": 1.5,
        "oh_first": 4.0,
        "oh_last": 1.5,
        "adv_first": 5.0,
        "adv_last": 1.5,
    }


SHORTER = {
    "synthesis.rounds": 3,
    "synthesis.warmup_rounds": 1,
    "synthesis.batch_size": 4,
    "synthesis.steps": 2,
    "distillation.updates_per_round": 2,
    "distillation.batch_size": 4,
    "distillation.warmup_updates": 0,
    "distillation.teacher_cache": None,
    "platform.precision": "float32",
}


@pytest.mark.parametrize("label", ["dense", "mixed norms"])
def test_a_row_of_a_tiny_run(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (student,) = teachers.students(1, [label], SHORTER)
    recipe = student.recipe
    teacher = open_network(recipe.teacher, image_spec(recipe)).eval()

    class Judge:
        def answers(self, *_: Any) -> None:
            return None

        def figures(self, *_: Any) -> dict[str, float]:
            return {"accuracy": 0.25, "agreement": 0.5}

    taught = Evaluated(classes=torch.zeros(0), figures={"accuracy": 0.75})
    judged = (teacher, Judge(), taught)
    for module in (teachers, student_rows):
        monkeypatch.setattr(module, "judged", lambda student: judged)
    row = teachers.measured(student)
    assert (row["setting"], row["accuracy"], row["teacher_accuracy"]) == (label, 0.25, 0.75)
    assert row["layers"] == len(BatchNormStatistics(teacher).layers)
    assert row["bn_first"] > 0
    text = page([row], "command", "The student")
    assert f"| {label} | no |" in text
    assert "| 75.0% | 25.0 % | 50.0 % |" in text
    assert "behind the best: none." in text


def test_the_page_names_families_that_are_behind_or_diverged() -> None:
    def row(label: str, accuracy: float) -> dict[str, Any]:
        terms = {
            f"{term}_{when}": 2.0 for term in ("bn", "oh", "adv") for when in ("first", "last")
        }
        counts = {"parameters": 9, "layers": 4, "channels": 8, "seconds": 60.0}
        shown = {"accuracy": accuracy, "agreement": accuracy, "teacher_accuracy": 0.99}
        return {"setting": label, "seed": 0, **shown, **counts, **terms}

    diverged = {"setting": "dense", "seed": 0, "diverged": str(DivergedError(1, ["bn"]))}
    text = page([row("residual", 0.97), row("VGG", 0.91), diverged], "command", "The student")
    assert "behind the best: VGG (6.0)." in text
    assert "| dense | no | - | - | diverged | diverged | - |" in text
    assert "| VGG | 4 | 8 | 2 to 2 | 0.5 to 0.5 | 2 to 2 | 2 to 2 |" in text
