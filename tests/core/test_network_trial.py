"""Changes that a network does not bear are left out. `tests/strangers` has a table of networks."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core import captured as captured_module
from fastdfkd.core.capture_trial import capturable
from fastdfkd.core.network_trial import find_network_use
from fastdfkd.core.network_use import NetworkUse, copied

from . import parts
from .tape import TapeRecorder


class Altered(nn.Module):
    """The usual network; subclasses change its output."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = parts.network(2, (4, 4))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return logits


class OtherInChannelsLast(Altered):
    """Gives other values in another layout; `factor` says by how much."""

    factor = 1.5

    def forward(self, x: Tensor) -> Tensor:
        last = x.is_contiguous(memory_format=torch.channels_last)
        return super().forward(x) * (self.factor if last else 1.0)


class OtherGradients(Altered):
    """The right logits with other gradients."""

    def forward(self, x: Tensor) -> Tensor:
        if x.is_contiguous(memory_format=torch.channels_last):
            x = x + (x - x.detach())
        return super().forward(x)


class OtherInTraining(OtherInChannelsLast):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else self.inner(x)


class OtherForOneImage(OtherInChannelsLast):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if len(x) == 1 else self.inner(x)


class Overflows(Altered):
    """Finite in float32 only."""

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return logits if not torch.is_autocast_enabled("cpu") else logits * torch.inf


class DropsMaps(Altered):
    def __init__(self) -> None:
        super().__init__()
        self.inner.insert(3, nn.Dropout(0.5))


def use_of(network: nn.Module, **options: Any) -> NetworkUse:
    return find_network_use(network, parts.IMAGE_SHAPE, **options)


@pytest.mark.parametrize("student", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_usual_network_bears_everything(student: bool, precision: Any) -> None:
    use = use_of(parts.student(), student=student, precision=precision)
    assert use == NetworkUse()
    assert use.line("it") == ""


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (OtherInChannelsLast, "logits of one image in eval mode differ by 50.0%"),
        (OtherGradients, "gradients of one image in eval mode differ by 100.0%"),
        (OtherInTraining, "logits of one image in train mode differ by 50.0%"),
        (OtherForOneImage, "logits of one image in eval mode differ by 50.0%"),
    ],
)
def test_a_layout_that_gives_other_answers_is_left_out(kind: type[nn.Module], what: str) -> None:
    use = use_of(kind(), student=True)
    assert use.left_out["channels_last"] == what
    assert what in use.line("the student")
    assert use.images(torch.zeros(2, 3, 8, 8)).is_contiguous()


def test_a_small_difference_is_proved_in_float64() -> None:
    network = OtherInChannelsLast()
    network.factor = 1 + 1e-5  # within float32's tolerance
    assert use_of(network).bears("channels_last")
    network.factor = 1 + 2e-3
    assert not use_of(network).bears("channels_last")


def test_what_overflows_under_autocast_runs_without_it() -> None:
    assert use_of(Overflows(), student=True).bears("autocast")
    use = use_of(Overflows(), student=True, precision="bfloat16")
    assert "NaN or infinite" in use.left_out["autocast"]
    with use.autocast(torch.device("cpu"), "bfloat16"):
        assert not torch.is_autocast_enabled("cpu")


def test_chance_is_no_difference() -> None:
    assert use_of(DropsMaps().train(), student=True).bears("channels_last")


@pytest.mark.parametrize("training", [True, False])
def test_a_trial_leaves_no_trace(training: bool) -> None:
    network = DropsMaps().train(training)
    network.inner[0].requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    draws, threads = torch.get_rng_state(), torch.get_num_threads()
    use_of(network, student=True, precision="bfloat16")
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(module.training == training for module in network.modules())
    assert [p.requires_grad for p in network.parameters()][:2] == [False, True]
    assert torch.equal(torch.get_rng_state(), draws)
    assert torch.get_num_threads() == threads


def test_idle_parameters_are_noticed() -> None:
    network = Altered()
    assert not use_of(network, student=True).idle_parameters
    network.unused = nn.Linear(2, 2)
    assert use_of(network, student=True).idle_parameters


def test_a_copy_trains_what_the_original_trains() -> None:
    network = Altered()
    network.inner[0].requires_grad_(False)
    twin = copied(network)
    assert [p.requires_grad for p in twin.parameters()] == [
        p.requires_grad for p in network.parameters()
    ]
    assert all(p.is_leaf for p in twin.parameters())


class AsksForValue(Altered):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x / max(x.abs().max().item(), 1.0))


class BakesValue(Altered):
    """Keeps a Python number from the recording, without reading the device."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float(x.detach().numpy().sum())


@pytest.mark.parametrize(
    ("kind", "fits"), [(Altered, True), (AsksForValue, False), (BakesValue, False)]
)
def test_what_cannot_be_captured_is_said(
    kind: type[nn.Module],
    fits: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(captured_module.RECORDERS, "cpu", TapeRecorder)
    network = kind().eval().requires_grad_(False)
    notes: list[str] = []
    assert capturable(network, NetworkUse(), parts.IMAGE_SHAPE, "cpu", "float32", notes) == fits
    assert ("runs without cuda_graphs" in caplog.text) == (not fits)
    assert len(notes) == (not fits)


def test_a_role_with_such_a_network_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(captured_module.RECORDERS, "cpu", TapeRecorder)
    usual = parts.fast(parts.fast_section(), capture=True)
    asking = parts.fast(parts.fast_section(), capture=True, student=AsksForValue())
    assert isinstance(usual.step, captured_module.Captured)
    assert not isinstance(asking.step, captured_module.Captured)
    assert usual.notes == []
    (note,) = asking.notes
    assert "AsksForValue runs without cuda_graphs (a captured step asks the device" in note
    asking.synthesize(1)
