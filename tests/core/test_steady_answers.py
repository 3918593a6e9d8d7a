"""Teachers whose answer for an image depends on more than the image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.steady_answers import unsteady_answers

from . import parts
from .odd_networks import Counts, Wrapped, plain
from .unchanged import assert_unchanged, snapshot


class Drifts(nn.Module):
    """Adds the number of its calls to its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = parts.teacher(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = self.inner(x) + self.calls
        return logits


class StaysInTrainMode(nn.Sequential):
    """As networks do whose author forgot what eval() is for."""

    def train(self, mode: bool = True) -> StaysInTrainMode:
        return super().train(True)


def of_the_batch(**settings: bool) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, **settings), nn.Flatten(), nn.LazyLinear(3)
    )


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (lambda: Wrapped(lambda x: F.dropout(x, 0.5, training=True)), "from one call to the next"),
        (Drifts, "keeps a state"),
        (lambda: of_the_batch(track_running_stats=False), "alone in its batch"),
        (lambda: StaysInTrainMode(*parts.teacher()), "train mode that eval"),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_what_answers_depend_on_is_told(
    teacher: Callable[[], nn.Module], said: str, training: bool
) -> None:
    network = teacher().train(training)
    with torch.no_grad():
        network(torch.zeros(2, *parts.IMAGE_SHAPE))
    before, state = snapshot(network), torch.get_rng_state()
    assert said in unsteady_answers(network, NetworkUse(), parts.IMAGE_SHAPE)
    assert_unchanged(network, before)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "teacher",
    [
        parts.teacher,
        plain,
        Counts,
        lambda: nn.Sequential(nn.Dropout(0.5), *parts.teacher()),
        lambda: Wrapped(lambda x: (x, x)),
        lambda: Wrapped(lambda x: x * 0),
    ],
)
def test_steady_teachers_pass(teacher: Callable[[], nn.Module]) -> None:
    assert unsteady_answers(teacher().train(), NetworkUse(), parts.IMAGE_SHAPE) == ""
