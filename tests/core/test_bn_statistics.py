from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.bn_statistics import RELATIVE_SCALE, BatchNormStatistics
from fastdfkd.core.methods.objective import InversionObjective

from . import parts


def two_layers() -> nn.Sequential:
    """Linear map that swaps and scales, between two BatchNorm layers with chosen statistics."""
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    first, linear, second = model
    first.eps = second.eps = 1e-30  # nothing beside a variance; torch 2.11 refuses 0
    with torch.no_grad():
        first.running_mean.copy_(torch.tensor([1.0, 0.0]))
        first.running_var.copy_(torch.tensor([4.0, 1.0]))
        linear.weight.copy_(torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
        second.running_mean.copy_(torch.tensor([2.0, -1.0]))
        second.running_var.copy_(torch.tensor([1.0, 0.25]))
    return model.eval()


def test_loss_of_two_layers_by_hand() -> None:
    """Two images (1, 2) and (5, 4).

    Layer 1: m = (3, 3), v = (4, 1) biased. ||v - (4, 1)|| = 0; ||m - (1, 0)|| = sqrt(4 + 9).
    Its output: ((1 - 1)/2, 2) = (0, 2) and ((5 - 1)/2, 4) = (2, 4); after the map (2, 0), (4, 4).
    Layer 2: m = (3, 2), v = (1, 4). ||(1, .25) - v|| = 3.75; ||(2, -1) - m|| = sqrt(1 + 9).
    """
    model = two_layers()
    statistics = BatchNormStatistics(model)
    with statistics.watching():
        model(torch.tensor([[1.0, 2.0], [5.0, 4.0]]))
        loss = statistics.loss()
    assert loss.item() == pytest.approx(np.sqrt(13) + 3.75 + np.sqrt(10), rel=1e-6)


def test_relative_loss_of_two_layers_by_hand() -> None:
    """The same moments, in deviations: layer 1 (2, 1), layer 2 (1, .5).

    Layer 1: means (2/2, 3/1), variances 0. Layer 2: means (1/1, 3/.5), variances (0, 15).
    """
    model = two_layers()
    statistics = BatchNormStatistics(model)
    with statistics.watching():
        model(torch.tensor([[1.0, 2.0], [5.0, 4.0]]))
        loss = statistics.relative_loss()
    first, second = np.sqrt(10 / 2), np.sqrt(37 / 2) + np.sqrt(225 / 2)
    assert loss.item() == pytest.approx(RELATIVE_SCALE * (first + second) / 2, rel=1e-6)


class Beside(nn.Module):
    """Layers that read the same input."""

    def __init__(self, layers: list[nn.BatchNorm1d]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([layer(x) for layer in self.layers], 1)


@pytest.mark.parametrize(("scale", "copies"), [(1.0, 1), (1000.0, 1), (1.0, 3)])
def test_relative_loss_is_that_of_inputs_without_scale(scale: float, copies: int) -> None:
    """A layer with larger inputs, or three of the same layer; the gradient is autograd's."""
    running_mean, running_var = torch.tensor([1.0, -2.0]), torch.tensor([4.0, 9.0])
    layers = [nn.BatchNorm1d(2) for _ in range(copies)]
    for layer in layers:
        layer.running_mean, layer.running_var = running_mean * scale, running_var * scale**2
    model = Beside(layers).double().eval()
    statistics = BatchNormStatistics(model)

    def loss(x: Tensor) -> Tensor:
        with statistics.watching():
            model(x * scale)
            return statistics.relative_loss()

    x = torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
    off = (x.mean(0) - running_mean).square() / running_var
    ratio = x.var(0, correction=0) / running_var - 1
    expected = RELATIVE_SCALE * (off.mean().sqrt() + ratio.square().mean().sqrt())
    assert loss(x).item() == pytest.approx(expected.item(), rel=1e-9)
    assert torch.autograd.gradcheck(loss, x)


def test_the_newest_forward_counts() -> None:
    model = two_layers()
    statistics = BatchNormStatistics(model)
    with statistics.watching():
        model(torch.randn(5, 2))
        model(torch.tensor([[1.0, 2.0], [5.0, 4.0]]))
        loss = statistics.loss()
    assert loss.item() == pytest.approx(np.sqrt(13) + 3.75 + np.sqrt(10), rel=1e-6)


def test_momentum_over_three_batches() -> None:
    """One layer, running (0, 1) and (1, 1); numpy keeps the estimate. Two steps to a batch."""
    layer = nn.BatchNorm1d(2).eval()
    with torch.no_grad():
        layer.running_mean.copy_(torch.tensor([0.0, 1.0]))
    statistics = BatchNormStatistics(layer, momentum=0.9)
    numbers = np.random.default_rng(0)
    estimate: tuple[np.ndarray, np.ndarray] | None = None
    for _ in range(3):
        with statistics.watching():
            for _ in range(2):
                x = numbers.normal(1.0, 2.0, (6, 2))
                layer(torch.tensor(x, dtype=torch.float32))
                mean, var = x.mean(0), x.var(0)
                if estimate is not None:
                    mean = 0.1 * mean + 0.9 * estimate[0]
                    var = 0.1 * var + 0.9 * estimate[1]
                expected = np.linalg.norm(1 - var) + np.linalg.norm(np.array([0, 1]) - mean)
                assert statistics.loss().item() == pytest.approx(expected, rel=1e-5)
            statistics.end_batch()
        estimate = (mean, var)
        for kind, value in zip(("mean", "var"), estimate, strict=True):
            kept = statistics.state_dict()[f".{kind}"].numpy()
            np.testing.assert_allclose(kept, value, rtol=1e-5)


def test_the_running_estimate_carries_no_gradient() -> None:
    layer = nn.BatchNorm1d(2).eval()
    statistics = BatchNormStatistics(layer, momentum=0.75)
    with statistics.watching():
        layer(torch.randn(4, 2, requires_grad=True))
        statistics.end_batch()
    assert not any(x.requires_grad for x in statistics.state_dict().values())
    x = torch.tensor([[0.0, 2.0], [4.0, 8.0]], requires_grad=True)
    with statistics.watching():
        layer(x)
        statistics.loss().backward()
    state = {key: value.double() for key, value in statistics.state_dict().items()}
    y = x.detach().double().requires_grad_()
    mean = 0.25 * y.mean(0) + 0.75 * state[".mean"]
    var = 0.25 * y.var(0, unbiased=False) + 0.75 * state[".var"]
    ((1 - var).norm() + mean.norm()).backward()
    assert x.grad is not None
    assert y.grad is not None
    torch.testing.assert_close(x.grad.double(), y.grad, rtol=1e-5, atol=1e-6)


def test_without_momentum_nothing_is_kept() -> None:
    layer = nn.BatchNorm1d(2).eval()
    statistics = BatchNormStatistics(layer)
    with statistics.watching():
        layer(torch.randn(4, 2))
        statistics.end_batch()
    assert statistics.state_dict() == {}


def hooks(model: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def test_hooks_are_there_inside_the_block_only() -> None:
    model = parts.teacher()
    statistics = BatchNormStatistics(model)
    assert hooks(model) == 0
    with statistics.watching():
        assert hooks(model) == 2
    assert hooks(model) == 0

    def fails() -> None:
        with statistics.watching():
            model(torch.zeros(1, 1))

    with pytest.raises(RuntimeError):
        fails()
    assert hooks(model) == 0


def test_an_error_in_a_batch_does_not_move_the_estimate() -> None:
    objective = InversionObjective(
        parts.task(), (1.0, 1.0, 0.0), lambda t, s: t.sum(), bn_momentum=0.9
    )

    def fails() -> None:
        with objective.batch():
            objective(torch.randn(2, *parts.IMAGE_SHAPE), torch.tensor([0, 1]), False)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert objective.statistics.state_dict() == {}
    assert hooks(objective.teacher) == 0


def test_no_hook_stays_after_a_batch_of_either_synthesizer() -> None:
    for synthesizer in (
        parts.fast(parts.fast_section()),
        parts.deep(parts.deep_section(steps=2)),
    ):
        synthesizer.synthesize(0)
        assert hooks(synthesizer.objective.teacher) == 0
        assert hooks(synthesizer.objective.student) == 0


def watched(statistics: BatchNormStatistics, model: nn.Module, x: Tensor) -> float:
    with statistics.watching():
        model(x)
        loss = statistics.loss().item()
        statistics.end_batch()
    return loss


def test_state_goes_round() -> None:
    model, batches = parts.teacher(), torch.randn(3, 4, *parts.IMAGE_SHAPE)
    first = BatchNormStatistics(model, 0.9)
    watched(first, model, batches[0])
    state = copy.deepcopy(first.state_dict())
    assert set(state) == {"1.mean", "1.var", "4.mean", "4.var"}
    second = BatchNormStatistics(model, 0.9)
    second.load_state_dict(state)
    for batch in batches[1:]:
        assert watched(first, model, batch) == watched(second, model, batch)
    second.load_state_dict({})
    assert second.state_dict() == {}


def test_another_teachers_state_is_refused() -> None:
    statistics = BatchNormStatistics(parts.teacher(), 0.9)
    with pytest.raises(ValueError, match="another teacher"):
        statistics.load_state_dict({"0.mean": torch.zeros(5), "0.var": torch.ones(5)})


def test_a_state_of_other_widths_is_refused() -> None:
    """The same architecture at another width has the same layer names."""
    wide = parts.network(1, (7, 6)).eval()
    other = BatchNormStatistics(wide, 0.9)
    watched(other, wide, torch.randn(2, *parts.IMAGE_SHAPE))
    statistics = BatchNormStatistics(parts.teacher(), 0.9)
    with pytest.raises(ValueError, match="another teacher"):
        statistics.load_state_dict(other.state_dict())


class WithAuxiliaryHead(nn.Module):
    """A teacher with a BatchNorm layer that its forward does not use in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.BatchNorm2d(3)
        self.auxiliary = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.main(x)
        return x + self.auxiliary(x) if self.training else x


def test_state_goes_round_with_a_layer_that_eval_mode_skips() -> None:
    model = WithAuxiliaryHead().eval()
    statistics = BatchNormStatistics(model, 0.9)
    watched(statistics, model, torch.randn(2, *parts.IMAGE_SHAPE))
    resumed = BatchNormStatistics(model, 0.9)
    resumed.load_state_dict(statistics.state_dict())
    assert resumed.state_dict().keys() == statistics.state_dict().keys()
