"""The fused network equals the network, which is not modified."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.fused_norm import FusedNorm, fused, recording
from fastdfkd.core.generators import UpsampledConv2d
from fastdfkd.models import CLASSIFIERS, build_network

from . import parts


class Branching(nn.Module):
    """The first norm has two readers, so it cannot be fused with its ReLU; the second can."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.stem(x))
        y = self.relu(self.second(torch.neg(x)))
        x += 0.1
        return (y + x.relu()).mean((2, 3))


class Deciding(nn.Module):
    """Cannot be traced: its forward depends on a shape."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.part(x)
        if x.shape[-1] > 2:
            x = F.relu(self.norm(x))
        return x.mean((2, 3))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": parts.teacher,
    "branching": Branching,
    "deciding": Deciding,
    **{
        name: lambda name=name: build_network(name, 3)  # type: ignore[misc]
        for name in ("wrn-16-1", "resnet8", "vgg11")
    },
}


def frozen(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = NETWORKS[name]()
        with torch.no_grad():
            network.train()(torch.randn(16, 3, 8, 8) * 2 + 1)
    network.to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)


def images(dtype: torch.dtype = torch.float32) -> Tensor:
    x = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(5)).to(dtype)
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


def loss_and_gradient(network: nn.Module, original: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    statistics = BatchNormStatistics(original)
    with statistics.watching(), recording(network, statistics.record):
        logits = network(x)
        loss = statistics.loss() + F.cross_entropy(logits.float(), torch.arange(8) % 3)
    return loss.detach(), torch.autograd.grad(loss, x)[0]


def one_minus_cosine(a: Tensor, b: Tensor) -> float:
    return 1 - F.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0).item()


@pytest.mark.parametrize("name", NETWORKS)
def test_float32_is_the_same_function(name: str) -> None:
    network, x = frozen(name), images()
    expected = loss_and_gradient(network, network, x)
    found = loss_and_gradient(fused(network), network, x)
    assert found[0].item() == pytest.approx(expected[0].item(), rel=1e-6)
    assert one_minus_cosine(found[1], expected[1]) < 1e-5
    assert found[1].norm().item() == pytest.approx(expected[1].norm().item(), rel=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_without_statistics_and_of_them_alone(name: str) -> None:
    network, x = frozen(name, torch.float64), images(torch.float64)
    statistics = BatchNormStatistics(network)
    for kind in ("logits", "statistics"):
        gradients = []
        for model in (network, fused(network)):
            with statistics.watching(), recording(model, statistics.record):
                logits = model(x)
                value = logits.square().sum() if kind == "logits" else statistics.loss()
            gradients.append(torch.autograd.grad(value, x)[0])
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def test_nothing_of_ours_asks_torch_for_an_eps_of_zero_where_it_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`F.batch_norm` of torch 2.11 refuses an eps of 0 in eval mode too; a network may have one."""
    network, x = frozen("resnet8"), images()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 0.0
    expected = loss_and_gradient(fused(network), network, x)
    plain = F.batch_norm

    def refusing(*arguments: Any, eps: float = 1e-5, **named: Any) -> Tensor:
        if eps <= 0:
            raise ValueError(f"batch_norm eps must be positive, but got {eps}")
        return plain(*arguments, eps=eps, **named)

    monkeypatch.setattr(F, "batch_norm", refusing)
    for ours, before in zip(loss_and_gradient(fused(network), network, x), expected, strict=True):
        assert torch.equal(ours, before)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_is_near(name: str) -> None:
    """The documented tolerances at step 0: loss 1 %, direction 0.03."""
    network, x = frozen(name), images()
    expected = loss_and_gradient(network, network, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss_and_gradient(fused(network), network, x)
    assert found[0].item() == pytest.approx(expected[0].item(), rel=1e-2)
    assert one_minus_cosine(found[1], expected[1]) < 0.03


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_itself_is_left_alone(name: str) -> None:
    network = frozen(name)
    before = [type(module) for module in network.modules()], copy.deepcopy(network.state_dict())
    loss_and_gradient(fused(network), network, images())
    assert [type(module) for module in network.modules()] == before[0]
    assert network.state_dict().keys() == before[1].keys()
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[1][key])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


@pytest.mark.parametrize(
    ("name", "joined"),
    [("plain", 2), ("branching", 1), ("wrn-16-1", 13), ("resnet8", 4)],
)
def test_norms_and_their_relus_are_found(name: str, joined: int) -> None:
    network = frozen(name)
    norms = [module for module in fused(network).modules() if isinstance(module, FusedNorm)]
    statistics = BatchNormStatistics(network)
    assert sum(norm.relu for norm in norms) == joined
    assert {norm.name for norm in norms} == set(statistics.layers)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_shipped_network_is_fused(name: str) -> None:
    network = build_network(name, 3).eval().requires_grad_(False)
    norms = [module for module in fused(network).modules() if isinstance(module, FusedNorm)]
    assert {norm.name for norm in norms} == set(BatchNormStatistics(network).layers)


def test_a_network_that_cannot_be_traced_is_used_as_it_is() -> None:
    network = frozen("deciding")
    assert fused(network) is network


def test_newly_loaded_weights_are_seen() -> None:
    network, other = frozen("plain"), parts.network(9, (5, 6)).eval()
    model, x = fused(network), images()
    network.load_state_dict(other.state_dict())
    torch.testing.assert_close(model(x), other(x))


def test_a_network_with_hooks_is_left_as_it_is() -> None:
    network = frozen("plain")
    network.register_forward_hook(lambda *_: None)
    assert fused(network) is network


def test_recording_ends_with_the_block() -> None:
    model, seen = fused(frozen("plain")), []

    def fails() -> None:
        with recording(model, lambda name, _: seen.append(name)):
            model(images())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    model(images())
    assert seen == ["1", "4"]


def test_where_statistics_are_met_exactly_the_gradient_is_zero() -> None:
    layer = nn.BatchNorm1d(2).eval()
    statistics = BatchNormStatistics(layer)
    x = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], requires_grad=True)
    with statistics.watching():
        layer(x)
        loss = statistics.loss()
    assert loss.item() == 0
    assert torch.autograd.grad(loss, x)[0].tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 3, 1, 5)], ids=str)
def test_upsampled_convolution_is_upsampling_then_convolution(shape: tuple[int, ...]) -> None:
    layer = UpsampledConv2d(3, 5, 3, padding=1, bias=False).double()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    plain = F.conv2d(F.interpolate(x, scale_factor=2), layer.weight, padding=1)
    ours = layer(x)
    torch.testing.assert_close(ours, plain)
    upper = torch.randn_like(plain)
    inputs = (x, layer.weight)
    expected = torch.autograd.grad(plain, inputs, upper)
    for found, wanted in zip(torch.autograd.grad(ours, inputs, upper), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.gpu
@pytest.mark.parametrize("name", NETWORKS)
def test_cuda_is_the_same_function(name: str) -> None:
    network = frozen(name).to("cuda")
    x = images().detach().to("cuda").requires_grad_()
    statistics = BatchNormStatistics(network)
    results = []
    for model in (network, fused(network)):
        with statistics.watching(), recording(model, statistics.record):
            loss = model(x).square().sum() + statistics.loss()
        results.append((loss.item(), torch.autograd.grad(loss, x)[0]))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-4)
    assert one_minus_cosine(results[1][1], results[0][1]) < 1e-5
