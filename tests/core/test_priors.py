"""The priors against plain transcriptions, and what a synthesizer does with them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.last_layer import LastLayer
from fastdfkd.core.losses import activation_loss, balance_loss, confidence_loss
from fastdfkd.core.methods.objective import InversionObjective
from fastdfkd.core.methods.priors import PriorWeights, draw_patches, without_patches
from fastdfkd.core.task_kind import Classification

from . import parts


def rows(logits: Tensor) -> list[list[float]]:
    """Softmax of every position, in plain Python."""
    found = []
    for row in logits.double().movedim(1, -1).flatten(0, -2).tolist():
        powers = [math.exp(value) for value in row]
        found.append([power / sum(powers) for power in powers])
    return found


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 2, 2)])
def test_entropies_in_plain_python(shape: tuple[int, ...]) -> None:
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(2)) * 2
    shares = rows(logits)
    each = [-sum(p * math.log(p) for p in row) for row in shares]
    assert confidence_loss(logits).item() == pytest.approx(sum(each) / len(each), rel=1e-5)
    mean = [sum(column) / len(shares) for column in zip(*shares, strict=True)]
    entropy = -sum(p * math.log(p) for p in mean)
    assert balance_loss(logits).item() == pytest.approx(-entropy, rel=1e-5)


def test_the_entropies_at_their_bounds() -> None:
    sure = torch.eye(4) * 200
    assert confidence_loss(sure).item() == pytest.approx(0, abs=1e-6)
    assert balance_loss(sure).item() == pytest.approx(-math.log(4), rel=1e-6)
    unsure = torch.zeros(3, 4)
    assert confidence_loss(unsure).item() == pytest.approx(math.log(4), rel=1e-6)
    one_class = torch.tensor([[200.0, 0, 0, 0]] * 3).requires_grad_()
    loss = balance_loss(one_class) + confidence_loss(one_class)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    (gradient,) = torch.autograd.grad(loss, [one_class])
    assert torch.isfinite(gradient).all()


def test_activation_is_minus_the_mean_size() -> None:
    features = torch.tensor([[1.0, -3.0], [0.0, 4.0]])
    assert activation_loss(features).item() == -2.0


class Functional(nn.Module):
    """Its last layer is a call, not a module."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4))
        self.first = nn.Linear(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.first(x).tanh(), self.weight).flip(1)


def test_the_last_layers_input_is_found() -> None:
    network, x = Functional(), torch.randn(5, 2)
    watched = LastLayer()
    with watched:
        network(x)
    torch.testing.assert_close(watched.take_features(), network.first(x).tanh())
    with pytest.raises(ValueError, match=r"set synthesis\.activation to 0"):
        watched.take_features()


def test_a_final_convolution_counts() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1))
    x, watched = torch.randn(2, 3, 4, 4), LastLayer()
    with watched:
        network(x)
    torch.testing.assert_close(watched.take_features(), network[0](x))


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
def test_the_objective_adds_the_weighted_priors(fused: bool) -> None:
    task, weights = parts.task(), PriorWeights(confidence=0.5, balance=2.0, activation=3.0)
    x = torch.randn(4, *parts.IMAGE_SHAPE)
    labels = torch.tensor([0, 1, 2, 0])
    terms: list[Tensor] = []
    for priors in (PriorWeights(), weights):
        objective = InversionObjective(
            task, (2.0, 0.5, 1.3), Classification(3).adversarial_loss, priors=priors
        )
        if not fused:
            objective.fused_teacher = objective.teacher
        with objective.batch():
            terms.append(objective(x, labels, True))
    teacher = parts.teacher()
    features = teacher[:-1](x)
    expected = (
        0.5 * confidence_loss(teacher(x)) + 2 * balance_loss(teacher(x)) - 3 * features.abs().mean()
    )
    torch.testing.assert_close(terms[1][0] - terms[0][0], expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(terms[1][1:], terms[0][1:])


def test_patches_are_dropped_whole_and_in_their_share() -> None:
    randomness = torch.Generator().manual_seed(0)
    kept = draw_patches(500, (10, 6), 0.25, 4, randomness)
    assert kept.shape == (500, 1, 10, 6)
    corners = kept[:, :, ::4, ::4]
    assert corners.shape[2:] == (3, 2)
    for y in range(10):
        for x in range(6):
            assert torch.equal(kept[:, 0, y, x], corners[:, 0, y // 4, x // 4])
    assert 1 - corners.double().mean().item() == pytest.approx(0.25, abs=0.02)
    images = torch.ones(500, 3, 10, 6)
    assert torch.equal(without_patches(images, kept), kept.float().expand(-1, 3, -1, -1))
    assert without_patches(images, None) is images


PRIORS: list[dict[str, Any]] = [
    {"confidence": 1.0},
    {"balance": 1.0},
    {"activation": 1.0},
    {"tv": 0.01},
    {"patch_drop": 0.5},
]


@pytest.mark.parametrize("method", ["fast", "deep"])
@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: next(iter(prior)))
def test_a_prior_changes_the_images_and_repeats(method: str, prior: dict[str, Any]) -> None:
    build, section = {
        "fast": (parts.fast, parts.fast_section),
        "deep": (parts.deep, parts.deep_section),
    }[method]
    plain = build(section()).synthesize(2).images
    first, again = (build(section(**prior)).synthesize(2).images for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, plain)
