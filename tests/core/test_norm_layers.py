"""Layers count by what they compute; the classes here are unknown to the package, or imitate."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.fused_norm import FusedNorm, fused, recording
from fastdfkd.core.norm_layers import kind_of, normalises, normalising_layers, per_image


class Frozen(nn.Module):
    """BatchNorm by arithmetic on buffers, as torchvision's FrozenBatchNorm2d."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        for name, low in (("weight", 0.5), ("bias", -1), ("running_mean", -1), ("running_var", 1)):
            self.register_buffer(name, torch.rand(channels) + low)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)


class WithActivation(nn.BatchNorm2d):
    """BatchNorm and an activation in one layer, as timm's BatchNormAct2d."""

    def __init__(self, channels: int, activation: nn.Module) -> None:
        super().__init__(channels)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )
        return self.activation(x)


class ConvolvesFirst(nn.Module):
    """Has the buffers of a BatchNorm, but what it normalises is not its input."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.register_buffer("running_mean", torch.rand(channels))
        self.register_buffer("running_var", torch.rand(channels) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(self.conv(x), self.running_mean, self.running_var)


class Holds(nn.Module):
    """Holds statistics that it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(3))
        self.register_buffer("running_var", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.BatchNorm1d(3), "norm"),
        (nn.BatchNorm3d(3), "norm"),
        (nn.SyncBatchNorm(3), "norm"),
        (nn.BatchNorm2d(3, affine=False), "norm"),
        (Frozen(3), "norm"),
        (Frozen(3, eps=0.8), "norm"),
        (WithActivation(3, nn.Identity()), "norm"),
        (WithActivation(3, nn.ReLU(inplace=True)), "norm_relu"),
        (WithActivation(3, nn.ReLU6()), "other"),
        (WithActivation(3, nn.SiLU()), "other"),
        (WithActivation(3, nn.GELU()), "other"),
        (nn.InstanceNorm2d(3, track_running_stats=True), "other"),
        (nn.InstanceNorm2d(3), None),
        (nn.BatchNorm2d(3, track_running_stats=False), None),
        (nn.LazyBatchNorm2d(), None),
        (nn.GroupNorm(1, 3), None),
        (ConvolvesFirst(), None),
        (Holds(), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_a_layer_is_known_by_what_it_computes(layer: nn.Module, kind: str | None) -> None:
    assert kind_of(layer.eval()) == kind


def test_trying_a_layer_changes_nothing() -> None:
    layer = WithActivation(3, nn.ReLU()).train()
    calls: list[object] = []
    layer.register_forward_pre_hook(lambda *_: calls.append(1))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    state = torch.random.get_rng_state()
    assert kind_of(layer) == "norm_relu"
    assert not calls
    assert layer.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_libraries_layers_are_found() -> None:
    ops = pytest.importorskip("torchvision.ops")
    assert kind_of(ops.FrozenBatchNorm2d(4)) == "norm"
    layers = pytest.importorskip("timm.layers")
    assert kind_of(layers.BatchNormAct2d(4)) == "norm_relu"
    assert kind_of(layers.FrozenBatchNormAct2d(4, act_layer=nn.SiLU)) == "other"


def mixed() -> nn.Module:
    """Five layers with statistics, of five kinds; two of them join a ReLU."""
    torch.manual_seed(0)
    network = nn.Sequential(
        ConvolvesFirst(),
        Frozen(3),
        nn.ReLU(),
        WithActivation(3, nn.ReLU()),
        WithActivation(3, nn.SiLU()),
        nn.InstanceNorm2d(3, track_running_stats=True),
    )
    return network.eval().requires_grad_(False)


def test_all_kinds_are_recorded_and_the_fused_network_records_the_same() -> None:
    network = mixed()
    statistics, x = BatchNormStatistics(network), torch.randn(5, 3, 6, 6)
    answers = []
    for runs in (network, fused(network)):
        pixels = x.clone().requires_grad_()
        with statistics.watching(), recording(runs, statistics.record):
            logits = runs(pixels)
            assert set(statistics.newest) == {"0.running_mean", "1", "3", "4", "5"}
            loss = statistics.loss()
        (gradient,) = torch.autograd.grad(loss + logits.square().sum(), [pixels])
        answers.append((loss.detach(), logits.detach(), gradient))
    for ours, theirs in zip(*answers, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert sum(isinstance(module, FusedNorm) for module in fused(network).modules()) == 2


def test_the_loss_of_each_kind_by_hand() -> None:
    """Every layer alone, against numpy's moments of what it normalises."""
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    convolves = ConvolvesFirst().eval()
    cases: list[tuple[nn.Module, Tensor]] = [(Frozen(3), x), (convolves, convolves.conv(x))]
    for layer, seen in cases:
        values = seen.detach().double().numpy()
        mean, var = values.mean((0, 2, 3)), values.var((0, 2, 3))
        check_loss(layer, x, torch.tensor(mean), torch.tensor(var))
    tracked = nn.InstanceNorm2d(3, track_running_stats=True).eval()
    values = x.double().numpy()
    mean, var = values.mean((0, 2, 3)), values.var((2, 3), ddof=1).mean(0)
    check_loss(tracked, x, torch.tensor(mean), torch.tensor(var))


def check_loss(layer: nn.Module, x: Tensor, mean: Tensor, var: Tensor) -> None:
    statistics = BatchNormStatistics(layer)
    with statistics.watching():
        layer(x)
        loss = statistics.loss()
    expected = (layer.running_mean.double() - mean).norm() + (layer.running_var - var).norm()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_an_instance_norm_that_learns_has_these_moments_as_its_statistics() -> None:
    """With momentum 1 its running statistics are those of the last batch: the loss is 0."""
    layer, x = nn.InstanceNorm2d(3, track_running_stats=True, momentum=1.0), torch.randn(4, 3, 5, 5)
    layer.train()(x)
    statistics = BatchNormStatistics(layer.eval())
    with statistics.watching():
        layer(x)
        assert statistics.loss().item() < 1e-5


def test_exported_graphs_are_observed() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    x = torch.randn(2, 3, 8, 8)
    program = torch.export.export(network, (x,)).module()
    plain, exported = BatchNormStatistics(network), BatchNormStatistics(program)
    with plain.watching(), exported.watching():
        network(x)
        program(x)
        torch.testing.assert_close(plain.loss(), exported.loss())


def test_the_estimates_of_called_norms_go_round() -> None:
    network = mixed()
    first = BatchNormStatistics(network, momentum=0.9)
    with first.watching():
        network(torch.randn(4, 3, 6, 6))
        first.end_batch()
    second = BatchNormStatistics(network, momentum=0.9)
    second.load_state_dict(first.state_dict())
    assert second.state_dict().keys() == first.state_dict().keys()
    x = torch.randn(4, 3, 6, 6)
    losses = []
    for statistics in (first, second):
        with statistics.watching():
            network(x)
            losses.append(statistics.loss().item())
    assert losses[0] == losses[1]


def test_a_folded_batch_norm_has_no_statistics() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    folded = torch.nn.utils.fusion.fuse_conv_bn_eval(network[0], network[1])
    assert normalising_layers(nn.Sequential(folded)) == {}


def test_only_layers_with_running_statistics_count() -> None:
    model = nn.Sequential(
        nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False), nn.GroupNorm(1, 2)
    )
    assert list(normalising_layers(model)) == ["0"]
    assert normalising_layers(nn.Linear(2, 2)) == {}


class NormalisesImages(nn.Module):
    """An InstanceNorm with running statistics that is no class of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.rand(3))
        self.register_buffer("running_var", torch.rand(3) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean.reshape(1, -1, 1, 1), self.running_var.reshape(1, -1, 1, 1)
        if self.training:
            mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True)
        return (x - mean) / (var + 1e-5).sqrt()


class NormalisesBatches(nn.InstanceNorm2d):
    """A BatchNorm in the clothes of an InstanceNorm."""

    def forward(self, input: Tensor) -> Tensor:
        return F.batch_norm(input, self.running_mean, self.running_var, training=self.training)


@pytest.mark.parametrize(
    ("layer", "images_alone"),
    [
        (nn.InstanceNorm1d(3, track_running_stats=True), True),
        (nn.InstanceNorm2d(3, affine=True, track_running_stats=True), True),
        (nn.InstanceNorm3d(3, track_running_stats=True), True),
        (NormalisesImages(), True),
        (NormalisesBatches(3, track_running_stats=True), False),
        (nn.BatchNorm2d(3), False),
        (Frozen(3), False),
        (WithActivation(3, nn.ReLU()), False),
    ],
)
def test_statistics_of_single_images_are_known_by_behaviour(
    layer: nn.Module, images_alone: bool
) -> None:
    assert per_image(layer) is images_alone
    assert normalises(layer)
    assert (kind_of(layer) == "other") >= images_alone


def test_statistics_of_single_images_are_compared_with_those_of_single_images() -> None:
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    values = x.double().numpy()
    mean, var = values.mean((0, 2, 3)), values.var((2, 3), ddof=1).mean(0)
    check_loss(NormalisesImages().eval(), x, torch.tensor(mean), torch.tensor(var))
