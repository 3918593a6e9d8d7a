"""The contrast that a teacher's first statistics imply, for right and wrong normalisations."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.augment import Normalisation
from fastdfkd.core.plausibility import (
    LEAST,
    MOST,
    NormalisationFinding,
    natural_images,
    normalisation_finding,
)
from fastdfkd.data import DATASETS, data_source
from fastdfkd.models import build_network, load_weights
from fastdfkd.recipe import DataSection

SHAPE = (3, 32, 32)
PLAIN = Normalisation((0.0,) * 3, (1.0,) * 3, "cpu")
BYTES = Normalisation((0.0,) * 3, (1 / 255,) * 3, "cpu")
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "cpu")
CIFAR = Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), "cpu")
JPEG_TEACHER = Path("../shared/data/wrn-40-2_cifar10_jpeg.safetensors")


def random() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def kinds_of_images() -> dict[str, Tensor]:
    """Images in [0, 1] that have little in common with photographs, and some that have."""
    coins = torch.rand(128, 3, 32, 32, generator=random())
    squares = (torch.arange(32)[:, None] + torch.arange(32)) % 2
    source = data_source(DataSection(name="digits"))
    digits = source.load("test", DATASETS["digits"][0])
    assert digits is not None
    return {
        "photographs": natural_images(128, SHAPE, random()),
        "noise": coins,
        "two colours a channel": (coins > 0.5).float(),
        "thin strokes": (coins[:, :1] > 0.95).float().expand(-1, 3, -1, -1),
        "chequered": squares.float().expand(128, 3, -1, -1),
        "flat": coins[:, :, :1, :1].expand(-1, -1, 32, 32),
        "digits": digits.images[:128].float() / 255,
    }


def taught(inputs: Tensor, kernel: int = 3) -> nn.Module:
    """Filters that are random, with the statistics of `inputs`."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        convolution = nn.Conv2d(inputs.shape[1], 32, kernel, padding=kernel // 2, bias=False)
        model = nn.Sequential(convolution, nn.BatchNorm2d(32, momentum=None), nn.ReLU())
        model.train()(inputs)
    return model.eval()


@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("name", list(kinds_of_images()))
def test_no_kind_of_images_is_suspected_when_the_normalisation_is_right(
    name: str, kernel: int
) -> None:
    images = kinds_of_images()[name]
    found = normalisation_finding(taught(images, kernel), images.shape[1:], lambda x: x)
    assert found.contrast is not None
    assert 0.4 < found.contrast / float(images.std()) < 1.6
    assert found.plausible, found.line


@pytest.mark.parametrize("name", [n for n in kinds_of_images() if n != "digits"])
def test_pixels_to_255_are_told_from_those_to_1_both_ways(name: str) -> None:
    images = kinds_of_images()[name]
    for stated, trained, smaller in ((PLAIN, BYTES, False), (BYTES, PLAIN, True)):
        found = normalisation_finding(taught(trained(images)), SHAPE, stated)
        assert not found.plausible
        assert "cannot be right" in found.line
        assert f"perhaps pixels from 0 to {1 if smaller else 255}:" in found.line


def test_no_normalisation_instead_of_imagenets_is_found() -> None:
    images = kinds_of_images()["photographs"]
    found = normalisation_finding(taught(IMAGENET(images)), SHAPE, PLAIN)
    assert not found.plausible
    assert "larger numbers, perhaps pixels that a standard deviation had divided" in found.line
    assert normalisation_finding(taught(IMAGENET(images)), SHAPE, CIFAR).plausible


def test_a_network_that_normalises_its_input_itself_is_tested_there() -> None:
    images = kinds_of_images()["photographs"]
    model = nn.Sequential(nn.BatchNorm2d(3, momentum=None), nn.Conv2d(3, 4, 3))
    with torch.no_grad():
        model.train()(BYTES(images))
    found = normalisation_finding(model.eval(), SHAPE, BYTES)
    assert (found.layer, found.plausible) == ("0", True)
    assert found.contrast == pytest.approx(float(images.std()), rel=0.1)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), "no layer"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "those of a new layer"),
    ],
    ids=["no statistics", "untrained"],
)
def test_what_cannot_be_tested_is_said_and_not_suspected(model: nn.Module, reason: str) -> None:
    found = normalisation_finding(model, SHAPE, PLAIN)
    assert found.plausible
    assert reason in found.line


def test_the_network_stays_as_it_was() -> None:
    model = taught(kinds_of_images()["noise"]).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    normalisation_finding(model, SHAPE, PLAIN)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training
    assert not model[1]._forward_pre_hooks
    assert torch.equal(state, torch.random.get_rng_state())


def test_natural_images_have_the_spectrum_of_photographs() -> None:
    images = natural_images(64, (3, 64, 64), random())
    assert images.shape == (64, 3, 64, 64)
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1
    power = torch.fft.rfft2(images).abs().square().mean((0, 1))[0]
    slope = torch.log(power[16] / power[4]) / torch.log(torch.tensor(4.0))
    assert float(slope) == pytest.approx(-2, abs=0.4)  # power falls as 1 / frequency^2


def test_limits_are_those_of_pixels_from_0_to_1() -> None:
    assert pytest.approx(1.5 * 0.5) == MOST
    assert not NormalisationFinding(layer="bn", contrast=LEAST / 2).plausible


@pytest.mark.skipif(not JPEG_TEACHER.is_file(), reason="needs ../shared/data")
def test_a_teacher_of_the_table() -> None:
    teacher = build_network("wrn-40-2", 10, 3)
    load_weights(teacher, JPEG_TEACHER)
    found = normalisation_finding(teacher, SHAPE, CIFAR)
    assert found.contrast == pytest.approx(0.25, abs=0.05)  # that of CIFAR-10
    for wrong in (PLAIN, BYTES):
        assert not normalisation_finding(teacher, SHAPE, wrong).plausible


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_teacher_is_compared_too() -> None:
    images = natural_images(64, SHAPE, random())
    teacher = taught(images)
    plain = normalisation_finding(teacher, SHAPE, PLAIN)
    with warnings.catch_warnings(action="error", category=UserWarning):
        found = normalisation_finding(torch.jit.trace(teacher, images[:2]), SHAPE, PLAIN)
    assert plain.contrast is not None
    assert found.contrast == pytest.approx(plain.contrast)
    assert found.layer == "1.running_mean"
