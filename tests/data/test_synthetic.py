"""The judge on synthetic images, alone and beside real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.task_kind import Classification, Segmentation
from fastdfkd.data import Judge, LabelledImages, RealAndSynthetic, RealImages, SyntheticImages
from fastdfkd.experiment import judge_of
from fastdfkd.models import build_network
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.runs.figures import SYNTHETIC, main_figure, measured, shown_columns


class Brightest(nn.Module):
    """Predicts the brightest channel, `shift` classes further."""

    def __init__(self, shift: int = 0):
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)).roll(self.shift, 1)


@pytest.fixture
def images() -> Tensor:
    return torch.randint(
        0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def answers(judge: Judge, shift: int) -> Any:
    return judge.answers(Brightest(shift), lambda x: x, "cpu")


def test_figures_are_columns_and_need_a_teacher(images: Tensor) -> None:
    judge: Judge = SyntheticImages(images, Classification(3))
    same, other = answers(judge, 0), answers(judge, 1)
    assert judge.figures(same) == {}
    found = judge.figures(same, same)
    assert list(found) == ["synthetic_" + name.removeprefix("synthetic_") for name in found]
    assert set(found) == set(SYNTHETIC)
    assert (found["synthetic_agreement"], found["synthetic_kl"]) == (1.0, pytest.approx(0.0))
    assert judge.figures(other, same)["synthetic_agreement"] == 0.0
    assert (len(judge), judge.judged_on) == (40, "held-out synthetic images")


def test_beside_real_images_both_are_measured(images: Tensor) -> None:
    real = RealImages(LabelledImages(images[:6], torch.zeros(6).long()), Classification(3))
    synthetic = SyntheticImages(images, Classification(3))
    both: Judge = RealAndSynthetic(real, synthetic)
    first, second = answers(both, 0), answers(both, 1)
    assert both.figures(first) == real.figures(answers(real, 0))
    assert both.figures(first, second) == {
        **real.figures(answers(real, 0), answers(real, 1)),
        **synthetic.figures(answers(synthetic, 0), answers(synthetic, 1)),
    }
    assert (len(both), both.judged_on) == (6, real.judged_on)


def test_images_are_made_once_for_all_settings(
    tiny_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FASTDFKD_HOME", str(tmp_path))
    recipe = load_recipe(tiny_recipe(), {"evaluation.synthetic_images": 20})
    torch.manual_seed(0)
    teacher, other = (build_network("resnet8-half", 10, 1).eval() for _ in range(2))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    made = judge_of(recipe, teacher)
    assert isinstance(made, RealAndSynthetic)
    assert made.synthetic.images.shape == (20, 1, 16, 16)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    files = list((tmp_path / "data").glob("synthetic-*"))
    assert len(files) == 1
    stamp = files[0].stat().st_mtime_ns
    changed = load_recipe(recipe, {"synthesis.steps": 9, "synthesis.bn": 1.0, "seed": 5})
    again = judge_of(changed, teacher)
    assert isinstance(again, RealAndSynthetic)
    assert torch.equal(made.synthetic.images, again.synthetic.images)
    assert [file.stat().st_mtime_ns for file in files] == [stamp]
    black = torch.zeros(20, 1, 16, 16, dtype=torch.uint8)
    monkeypatch.setattr("fastdfkd.data.synthetic.held_out_images", lambda *_, **__: black)
    found = judge_of(recipe, other)
    assert isinstance(found, RealAndSynthetic)
    assert torch.equal(found.synthetic.images, black), "another teacher has images of its own"
    assert len(list((tmp_path / "data").glob("synthetic-*"))) == 2


def test_the_wait_for_images_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tiny_recipe: Callable[..., Recipe],
) -> None:
    monkeypatch.setenv("FASTDFKD_HOME", str(tmp_path))
    monkeypatch.setattr("fastdfkd.data.synthetic._EVERY_S", 0.0)

    def quick(_: object, task: object, after_round: Callable[[], None]) -> Tensor:
        for _ in range(2):
            after_round()
        return torch.zeros(16, 1, 16, 16, dtype=torch.uint8)

    monkeypatch.setattr("fastdfkd.data.synthetic.held_out_images", quick)
    recipe = load_recipe(tiny_recipe(), {"evaluation.synthetic_images": 16})
    teacher = build_network(recipe.teacher.model, 10, 1)
    for _ in range(2):
        judge_of(recipe, teacher)
    assert [record.message for record in caplog.records if "held-out" in record.message] == [
        "making 16 held-out synthetic images from the teacher, to compare the student with it: "
        "21 batches of 16 images, 5 steps each; they are kept in the cache",
        "held-out synthetic images: 1 of 21 batches",
        "held-out synthetic images: 2 of 21 batches",
    ]


def test_what_runs_are_compared_by() -> None:
    assert main_figure(SYNTHETIC) == "synthetic_agreement"
    assert main_figure(["synthetic_agreement", "accuracy"]) == "accuracy"
    assert main_figure([]) == "accuracy"
    assert shown_columns([]) == ("accuracy", "top5_accuracy", "agreement")
    assert shown_columns(["synthetic_kl"]) == ("synthetic_kl",)
    assert shown_columns(["accuracy", "synthetic_kl"])[-1] == "synthetic_kl"
    assert measured({"accuracy": None, "synthetic_kl": 0.5, "loss": 1.0}) == {"synthetic_kl": 0.5}


class BrightestPixel(nn.Module):
    """Predicts the brightest channel of each pixel, `shift` classes further."""

    def __init__(self, shift: int = 0):
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return x.roll(self.shift, 1)


def test_maps_are_compared_on_a_sample_of_pixels(images: Tensor) -> None:
    large = images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    judge = SyntheticImages(large, Segmentation(3))
    same, other = (judge.answers(BrightestPixel(shift), lambda x: x, "cpu") for shift in (0, 1))
    assert {logits.shape for logits in same.logits.values()} == {(40, 3, 64)}
    plain = same.logits["synthetic"]
    colours = large.flatten(2).float() / 255
    for number in range(40):  # each sampled pixel is one of its own image
        distances = torch.cdist(plain[number].T, colours[number].T)
        assert distances.amin(1).max() < 1e-3
    found = judge.figures(same, same)
    assert set(found) == set(SYNTHETIC)
    assert found["synthetic_agreement"] == 1.0
    assert found["synthetic_coverage"] > 0.9
    assert judge.figures(other, same)["synthetic_agreement"] < 0.2
    small = SyntheticImages(images[:, :, :2, :2], Segmentation(3))
    answers = small.answers(BrightestPixel(), lambda x: x, "cpu")
    assert answers.logits["synthetic"].shape == (40, 3, 4)


def test_confusion_is_with_the_teacher_on_the_plain_images(images: Tensor) -> None:
    synthetic = SyntheticImages(images, Classification(3))
    student, teacher = answers(synthetic, 1), answers(synthetic, 0)
    (found,) = synthetic.confusions(student, teacher).values()
    assert found.sum() == 40
    assert found.trace() == 0, "the student's class is always the next one"
    real = RealImages(LabelledImages(images[:6], torch.zeros(6).long()), Classification(3))
    both = RealAndSynthetic(real, synthetic).confusions(answers(real, 1), answers(real, 0))
    assert {whom: pairs.sum() for whom, pairs in both.items()} == {"teacher": 6, "labels": 6}
