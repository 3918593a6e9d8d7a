"""Runs on real Ray compared with the single-process reference loop."""

from __future__ import annotations

import copy
import dataclasses
import threading
import time
from pathlib import Path

import pytest
import torch

from fastdfkd.core.interfaces import SampleBank
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.experiment import Experiment
from fastdfkd.platform import pipeline
from fastdfkd.recipe import Recipe
from fastdfkd.runs.details import RunDetails
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import Rows, in_lockstep, tiny, tiny_cmi, tiny_nayer
from tests.platform.students import check_same, reference_student

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]


CLASSES = {
    "synthesis__codes": "classes",
    "synthesis__balanced_labels": True,
    "synthesis__channel_exchange": 0.5,
    "synthesis__steps": 3,
}
METHODS = [
    tiny(**CLASSES, synthesis__meta="sequential"),
    pytest.param(tiny(**CLASSES), marks=pytest.mark.slow, id="fast, 3 steps, fomaml"),
    *(
        pytest.param(tiny(synthesis__meta=meta), marks=pytest.mark.slow)
        for meta in ("sequential", "fomaml", "reptile", "none")
    ),
    tiny_cmi(),
    tiny_nayer(),
    pytest.param(tiny(distillation__stage_maps=1.0), marks=pytest.mark.slow, id="stage maps"),
]
"""Plain `fomaml` by default: test_started_bank.py and test_bank_places.py."""


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("recipe", METHODS, ids=lambda recipe: recipe.synthesis.summary)
def test_lockstep_equals_the_reference_bit_for_bit(
    recipe: Recipe, teacher: Teacher, tmp_path: Path
) -> None:
    recipe = in_lockstep(recipe)
    result = pipeline.run(recipe, teacher, tmp_path, Rows())
    check_same(tmp_path, reference_student(recipe, teacher))
    assert (result.images, result.updates) == (7 * 16, 5 * 3)
    assert result.max_staleness == 0
    assert result.top5_accuracy is not None, "ten classes"
    assert 0 <= result.accuracy <= result.top5_accuracy <= 1
    details = RunDetails.load(tmp_path)
    assert details is not None
    shares = {each.against: each.same / each.total for each in details.confusions}
    assert shares == pytest.approx({"teacher": result.agreement, "labels": result.accuracy})
    assert {role: len(found) for role, found in details.sample_classes.items()} == {
        "teacher": 16,
        "student": 16,
    }


class AveragedPair:
    """Two distillers in one process whose gradients are averaged, as those of two workers are."""

    def __init__(self, recipe: Recipe, teacher: Teacher) -> None:
        self.both = [
            Experiment.of(recipe, copy.deepcopy(teacher.model)).distiller(rank=rank, world_size=2)
            for rank in (0, 1)
        ]

    def update(self, bank: SampleBank) -> torch.Tensor:
        losses = []
        for one in self.both:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(one.optimizer, "step", lambda: None)
                losses.append(one.update(bank))
        for mine, other in zip(*(one.module.parameters() for one in self.both), strict=True):
            assert mine.grad is not None
            assert other.grad is not None
            mine.grad = (mine.grad + other.grad) / 2
            other.grad = mine.grad.clone()
        for one in self.both:
            one.optimizer.step()
        return torch.stack(losses).mean()

    def student_state(self) -> dict[str, torch.Tensor]:
        return self.both[0].student_state()


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_two_workers_share_the_recipes_batch(teacher: Teacher, tmp_path: Path) -> None:
    """Each draws half of it from its own random stream, and their gradients are averaged."""
    recipe = tiny(
        platform__schedule="lockstep",
        platform__synthesizers=1,
        platform__workers=2,
        platform__cpus_per_worker=0.5,
    )
    result = pipeline.run(recipe, teacher, tmp_path, Rows())
    assert result.updates == 5 * 3
    experiment = Experiment.of(recipe, copy.deepcopy(teacher.model))
    pair = AveragedPair(recipe, teacher)
    sections = recipe.synthesis, recipe.distillation
    reference_loop(experiment.synthesizer(), experiment.buffer(), pair, *sections)  # type: ignore[arg-type]
    check_same(tmp_path, pair.student_state())


class Locked(torch.nn.Module):
    """A network that cannot be pickled."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.lock = inner, threading.Lock()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.inner(images)
        return logits


@pytest.mark.parametrize("own", [True, False])
def test_an_own_cluster_has_no_cleaner_of_placement_groups(
    monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    monkeypatch.setattr(pipeline.cluster, "is_own", lambda: own)
    trainer = pipeline._Trainer(lambda: None)
    names = [type(each).__name__ for each in trainer._create_default_callbacks()]
    assert ("PlacementGroupCleanerCallback" in names) is not own
    assert "BackendSetupCallback" in names


def test_a_network_that_cannot_be_sent_is_a_clear_error(teacher: Teacher, tmp_path: Path) -> None:
    locked = dataclasses.replace(teacher, model=Locked(teacher.model))
    with pytest.raises(ValueError, match=r"cannot be .*lock.*locks"):
        pipeline.run(tiny(), locked, tmp_path, Rows())


def test_a_synthesizer_that_cannot_be_built_is_not_waited_for(
    teacher: Teacher, tmp_path: Path
) -> None:
    recipe = tiny(synthesis__latent_dim=2**31 - 1)
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="synthesizer 0 cannot be built"):
        pipeline.run(recipe, teacher, tmp_path, Rows())
    assert time.monotonic() - began < 60
