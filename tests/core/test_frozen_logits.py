"""`for_logits` gives the network's logits and does not modify the network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.core import torch_versions
from fastdfkd.core.frozen_logits import FrozenConv2d, for_logits
from fastdfkd.core.fused_norm import FusedNorm
from fastdfkd.core.losses import distillation_loss
from fastdfkd.models import CLASSIFIERS, build_network

from . import parts


def conv(**changes: Any) -> nn.Conv2d:
    return nn.Conv2d(**{"in_channels": 4, "out_channels": 4, "kernel_size": 3, **changes})


class Odd(nn.Module):
    """Places that resemble foldable or joinable ones, but are neither."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.twice = conv(padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4, affine=i > 0) for i in range(4))
        self.wrapped = conv(padding=1, padding_mode="circular", bias=False)
        self.same = conv(padding="same", bias=False)
        self.grouped = conv(padding=2, dilation=2, groups=2, bias=False)
        self.offset = nn.Parameter(torch.randn(1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norms[0](x) + x  # the convolution is read twice
        y = F.relu(self.twice(y)) + self.twice(y)  # one layer, two places
        y = self.norms[1](self.grouped(y)) + self.offset  # the sum spreads one operand
        z = self.twice(y)
        y += 1  # what is added changes after the convolution
        y = F.relu(y + z)
        z = self.norms[2](self.wrapped(y))
        y += self.norms[3](self.same(y))  # in place into what is read again
        return (y * 2 + z).relu().mean((2, 3))[:, 1:]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": parts.teacher,
    "odd": Odd,
    **{
        name: lambda name=name: build_network(name, 3)  # type: ignore[misc]
        for name in ("wrn-16-1", "resnet8", "vgg11")
    },
}


def frozen(make: Callable[[], nn.Module], dtype: torch.dtype = torch.float32) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = make()
        with torch.no_grad():
            network.train()(torch.randn(16, 3, 8, 8) * 2 + 1)
    network.to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)


def images(dtype: torch.dtype = torch.float32, side: int = 8) -> Tensor:
    x = torch.randn(8, 3, side, side, generator=torch.Generator().manual_seed(5)).to(dtype)
    return x.contiguous(memory_format=torch.channels_last)


def loss_and_gradient(teacher_logits: Tensor) -> tuple[float, Tensor]:
    """Distillation loss of random student logits, and its gradient, at temperature 1."""
    start = torch.randn(8, 3, generator=torch.Generator().manual_seed(6)).requires_grad_()
    loss = distillation_loss(teacher_logits.float(), start, 1.0)
    return loss.item(), torch.autograd.grad(loss, start)[0]


def one_minus_cosine(a: Tensor, b: Tensor) -> float:
    return 1 - F.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0).item()


@pytest.fixture(params=[True, False], ids=["one call", "torch's convolution"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(torch_versions, "has_frozen_convolution", lambda _: False)


@pytest.mark.parametrize("name", NETWORKS)
def test_float64_is_the_same_function(name: str) -> None:
    network, x = frozen(NETWORKS[name], torch.float64), images(torch.float64)
    torch.testing.assert_close(for_logits(network)(x), network(x), rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("name", NETWORKS)
def test_float32_gives_the_same_loss_and_gradient(name: str) -> None:
    network, x = frozen(NETWORKS[name]), images()
    expected, found = loss_and_gradient(network(x)), loss_and_gradient(for_logits(network)(x))
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    assert one_minus_cosine(found[1], expected[1]) < 1e-5


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_is_near(name: str) -> None:
    """Logits are within 3 % of their norm; plain autocast is within 1 %."""
    network, x = frozen(NETWORKS[name]), images()
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        found = for_logits(network, torch.bfloat16)(x)
    exact = network(x)
    assert 0 < (found - exact).norm() < 0.03 * exact.norm()
    assert one_minus_cosine(found, exact) < 1e-3


def test_other_image_sizes_follow_the_first() -> None:
    network = frozen(NETWORKS["resnet8"])
    quick = for_logits(network)
    for side in (8, 16, 9, 8):
        torch.testing.assert_close(quick(images(side=side)), network(images(side=side)))


@pytest.mark.parametrize(
    ("name", "norms_left", "relus_joined"),
    [("plain", 0, 2), ("odd", 3, 1), ("wrn-16-1", 7, 6), ("resnet8", 0, 7), ("vgg11", 0, 8)],
)
def test_what_can_be_folded_and_joined_is(name: str, norms_left: int, relus_joined: int) -> None:
    modules = list(for_logits(frozen(NETWORKS[name])).modules())
    assert sum(isinstance(module, FusedNorm) for module in modules) == norms_left
    assert sum(isinstance(module, FrozenConv2d) and module.relu for module in modules) == (
        relus_joined
    )


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_shipped_network_is_made_for_its_logits(name: str) -> None:
    network = frozen(lambda: build_network(name, 3))
    kinds = [type(module) for module in for_logits(network).modules()]
    before = [type(module) for module in network.modules()]
    assert kinds.count(FrozenConv2d) == before.count(nn.Conv2d)
    norms = before.count(nn.BatchNorm2d)
    assert kinds.count(FusedNorm) == kinds.count(nn.BatchNorm2d) < max(norms, 1)


def test_the_network_itself_is_left_alone() -> None:
    network = frozen(NETWORKS["odd"])
    before = [type(module) for module in network.modules()], copy.deepcopy(network.state_dict())
    for_logits(network, torch.bfloat16)(images())
    assert [type(module) for module in network.modules()] == before[0]
    for key, value in network.state_dict().items():
        assert value.dtype is before[1][key].dtype
        assert torch.equal(value, before[1][key])


def test_a_network_that_cannot_be_traced_is_used_as_it_is() -> None:
    class Deciding(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)) if x.mean() > 0 else x.amax((2, 3))

    hooked = frozen(NETWORKS["plain"])
    hooked.register_forward_hook(lambda *_: None)
    for network in (Deciding(), hooked):
        assert for_logits(network) is network


@pytest.mark.gpu
@pytest.mark.parametrize("name", NETWORKS)
def test_cuda_is_the_same_function(name: str) -> None:
    network, x = frozen(NETWORKS[name]).to("cuda"), images().to("cuda")
    expected = loss_and_gradient(network(x).cpu())
    found = loss_and_gradient(for_logits(network)(x).cpu())
    assert found[0] == pytest.approx(expected[0], rel=1e-3)
    assert one_minus_cosine(found[1], expected[1]) < 1e-4
