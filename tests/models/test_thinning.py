"""Networks that keep a share of their channels."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.onednn_fault import PixelSelectingConv2d, corrupts_memory
from fastdfkd.models import (
    build_network,
    evenly_spaced_modules,
    open_network,
    parametrised_layers,
    same_modules,
    save_weights,
    select_weights,
    thin,
    thinning,
)
from fastdfkd.recipe import RecipeError
from fastdfkd.recipe.network_sections import StudentSection, TeacherSection

SHAPE = (3, 32, 32)


def _varied(network: nn.Module) -> nn.Module:
    """The network with weights and statistics of which no two are equal."""
    generator = torch.Generator().manual_seed(0)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator))
    return network


@pytest.mark.parametrize(("thick", "half"), [("resnet14", "resnet14-half"), ("unet", "unet-half")])
def test_a_half_is_the_network_of_half_the_channels_with_evenly_spaced_weights(
    thick: str, half: str
) -> None:
    teacher = _varied(build_network(thick, 10, 3))
    expected = build_network(half, 10, 3)
    select_weights(expected, teacher)
    thin(teacher, 0.5, SHAPE)
    mine, theirs = teacher.state_dict(), expected.state_dict()
    assert {name: value.shape for name, value in mine.items()} == {
        name: value.shape for name, value in theirs.items()
    }
    if thick == "resnet14":  # the U-Net concatenates maps, of which each keeps its own channels
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize(
    "name",
    ["wrn-16-1", "vgg11", "resnet8-gn", "vit-tiny", "vit-hybrid-half", "deeplabv3-mobilenetv2"],
)
@pytest.mark.parametrize("width", [0.5, 0.25])
def test_networks_of_the_table_run_with_fewer_channels(name: str, width: float) -> None:
    network = build_network(name, 10, 3).train()
    network.requires_grad_(False)
    before = sum(parameter.numel() for parameter in network.parameters())
    thin(network, width, SHAPE)
    after = sum(parameter.numel() for parameter in network.parameters())
    assert after < before * (0.8 if name.startswith("vit") else width * 0.75)
    assert network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


class _Rearranging(nn.Module):
    """Concatenates maps, groups them and flattens them, so that channels change their places."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Conv2d(8, 5, 3, padding=1)
        self.joined = nn.Conv2d(13, 6, 1)
        self.grouped = nn.Conv2d(6, 6, 3, groups=3)
        self.pool, self.linear = nn.AdaptiveAvgPool2d(2), nn.Linear(6 * 4, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.first(x)
        x = self.grouped(self.joined(torch.cat([x, self.second(x)], 1)))
        return {"logits": self.linear(self.pool(x).flatten(1))}


def test_weights_follow_their_channels_wherever_they_go() -> None:
    whole, network = _varied(_Rearranging()), _varied(_Rearranging())
    thin(network, 0.5, SHAPE)
    first, second = [0, 2, 5, 7], [0, 4]  # evenly spaced
    groups = [0, 2, 4]  # the first of each group of two
    kept = network.get_submodule, whole.get_submodule
    mine, all_ = ({key: of(key).weight for key in ("joined", "grouped", "linear")} for of in kept)
    assert torch.equal(network.first[1].running_var, whole.first[1].running_var[first])
    assert torch.equal(network.second.bias, whole.second.bias[second])  # type: ignore[index]
    joined = [*first, *(8 + place for place in second)]
    assert torch.equal(mine["joined"], all_["joined"][groups][:, joined])  # type: ignore[index]
    assert torch.equal(mine["grouped"], all_["grouped"][groups][:, :1])  # type: ignore[index]
    columns = [4 * channel + pixel for channel in groups for pixel in range(4)]
    assert torch.equal(mine["linear"], all_["linear"][:, columns])  # type: ignore[index]


def test_only_modules_with_evenly_spaced_channels_correspond() -> None:
    whole, network = _varied(_Rearranging()), _varied(_Rearranging())
    thin(network, 0.5, SHAPE)
    pairs = dict(evenly_spaced_modules(network, whole))
    assert pairs["first"] == "first"
    assert "first.2" not in pairs  # a ReLU
    assert "linear" not in pairs
    assert "" not in pairs
    teacher, student = (_varied(build_network("resnet8", 10, 3)) for _ in range(2))
    thin(student, 0.5, SHAPE)
    assert dict(evenly_spaced_modules(student, teacher)) == dict(same_modules(student, teacher))


class _Fixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.convolution(x)
        logits: Tensor = self.linear((maps * torch.ones(1, 8, 1, 1)).mean((2, 3)))
        return logits


def _linear(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, num_classes))


@pytest.mark.parametrize(
    ("network", "why"), [(_Fixed(), "must match"), (_linear(5), "no layer has channels")]
)
def test_what_cannot_be_thinned_is_refused(network: nn.Module, why: str) -> None:
    with pytest.raises(RecipeError, match=rf"width of 0\.5 .*{why}.*remove `width`"):
        thin(network, 0.5, SHAPE)


class _Multiplied(nn.Module):
    """Maps multiplied by each other, in whose graph channels seem to become ever more."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 12, 3)
        self.linear = nn.Linear(12 * 12, 5)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.second(self.first(x).relu()).relu().flatten(2)
        logits: Tensor = self.linear((maps @ maps.transpose(1, 2)).flatten(1))
        return logits


def test_a_search_that_goes_in_circles_is_ended() -> None:
    with pytest.raises(RecipeError, match="goes in circles"):
        thin(_Multiplied(), 0.5, SHAPE)


class _Unusual(nn.Module):
    """One parameter in two layers, a parametrised layer, features beside logits, a second head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.second, self.third = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.third.weight = self.second.weight
        self.last = weight_norm(nn.Conv2d(8, 12, 3))
        self.linear, self.head = nn.Linear(12, 5), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(self.first(x)).relu()
        maps = self.last(self.third(self.second(x).relu()).relu()).relu()
        beside = self.head(x.mean((2, 3))) if self.training else maps
        return self.linear(maps.mean((2, 3))), beside


def test_unusual_networks_are_thinned() -> None:
    torch.manual_seed(0)
    network = _Unusual()
    before = {name: value.clone() for name, value in network.named_buffers()}
    random = torch.get_rng_state()
    thin(network, 0.5, SHAPE)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(network.norm.running_var, before["norm.running_var"][[0, 2, 5, 7]])
    assert parametrised_layers(network) == []
    logits, beside = network.train()(torch.randn(2, *SHAPE))
    assert (logits.shape, beside.shape) == ((2, 5), (2, 5))
    assert network.head.in_features == 4
    assert network.eval()(torch.randn(2, *SHAPE))[1].shape[1] == 6


class _Slow(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.05)
        answer: Tensor = super().forward(x)
        return answer


def test_a_user_who_waits_long_is_told_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    layers = nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    thin(_Slow(*layers), 0.5, SHAPE)
    assert caplog.messages == []
    monkeypatch.setattr(thinning, "PATIENCE_S", 0.01)
    thin(_Slow(nn.Conv2d(3, 8, 3), *layers[1:3], nn.Linear(8, 5)), 0.5, SHAPE)
    assert [line.split(" after")[0] for line in caplog.messages] == ["_Slow is still being thinned"]


def test_strided_convolutions_of_few_channels_select_their_pixels_first() -> None:
    torch.manual_seed(0)
    thick, network = build_network("resnet14", 10, 3), build_network("resnet14", 10, 3)
    half = build_network("resnet14-half", 10, 3)
    thin(network, 0.5, SHAPE)
    half.load_state_dict(network.state_dict())
    assert not corrupts_memory(network)
    assert not corrupts_memory(thick)
    images = torch.randn(3, *SHAPE).contiguous(memory_format=torch.channels_last)
    copied = pickle.loads(pickle.dumps(network))
    answers = [each.train()(images) for each in (network, half, copied)]
    for answer in answers[1:]:
        assert torch.equal(answer, answers[0])
    strided = nn.Conv2d(4, 6, 1, (2, 3), bias=True).double()
    expected = strided(images.double()[:, :1].expand(-1, 4, -1, -1))
    PixelSelectingConv2d.convert(strided)
    assert torch.allclose(strided(images.double()[:, :1].expand(-1, 4, -1, -1)), expected)


SPEC = ImageSpec(name="own", shape=SHAPE, num_classes=10, mean=(0.5,) * 3, std=(0.5,) * 3)


def test_a_sections_width_is_opened_with_weights(tmp_path: Path) -> None:
    section = StudentSection(model="resnet8", width=0.5)
    network = _varied(open_network(section, SPEC))
    assert network.linear.weight.shape == (10, 32)  # type: ignore[union-attr]
    save_weights(tmp_path / "student.safetensors", network)
    again = TeacherSection(model="resnet8", width=0.5)
    opened = open_network(again, SPEC, tmp_path / "student.safetensors")
    state = network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in opened.state_dict().items())
    with pytest.raises(ValueError, match=r"3 input channels, 0\.25 of its width"):
        open_network(
            section.model_copy(update={"width": 0.25}), SPEC, tmp_path / "student.safetensors"
        )


def test_a_program_has_no_width() -> None:
    section = StudentSection(model="torchscript:student.pt", width=0.5)
    with pytest.raises(RecipeError, match=r"student\.model: expected a network built in Python"):
        open_network(section, SPEC)
