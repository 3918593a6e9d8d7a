"""What is remembered of the trials of networks: an equal network, in the same state only."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from fastdfkd.models import build_network
from tests import remembered_trials
from tests.remembered_trials import remembered

CHANGES = {
    "weight": lambda net: net.get_parameter("linear.bias").data.add_(1),
    "buffer": lambda net: next(net.buffers()).add_(1),
    "mode": lambda net: net.train(),
    "frozen": lambda net: net.requires_grad_(False),
    "setting": lambda net: setattr(bn_of(net), "eps", 0.1),
}


def bn_of(net: nn.Module) -> nn.Module:
    return next(module for module in net.modules() if isinstance(module, nn.BatchNorm2d))


class Trial:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, network: nn.Module, *_: Any, **__: Any) -> int:
        self.calls += 1
        return self.calls


@pytest.fixture(autouse=True)
def nothing_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered_trials, "_found", {})


def network() -> nn.Module:
    torch.manual_seed(0)
    return build_network("resnet8-half", 10, 1).eval()


def test_an_equal_network_is_tried_once_for_equal_arguments() -> None:
    tried = remembered(Trial())
    assert tried(network(), (1, 16, 16)) == tried(network(), (1, 16, 16)) == 1
    assert tried(network(), (1, 8, 8)) == 2
    assert tried(network(), (1, 8, 8), student=True) == 3


@pytest.mark.parametrize("change", CHANGES)
def test_another_state_is_tried_again(change: str) -> None:
    tried, other = remembered(Trial()), network()
    CHANGES[change](other)
    assert (tried(network(), (1, 16, 16)), tried(other, (1, 16, 16))) == (1, 2)


def test_what_its_attributes_do_not_tell_is_never_remembered() -> None:
    class Own(nn.Linear):
        pass

    patched, hooked = network(), network()
    patched.forward = lambda images: images  # type: ignore[method-assign, assignment]
    bn_of(hooked).register_forward_hook(lambda *_: None)
    for each in (nn.Sequential(Own(2, 2)), patched, hooked):
        tried = remembered(Trial())
        assert (tried(each), tried(each)) == (1, 2)
