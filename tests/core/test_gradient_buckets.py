"""Buckets of gradients, with a stand-in for the process group."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

from fastdfkd.core import gradient_buckets
from fastdfkd.core.gradient_buckets import GradientBuckets

from . import parts


class Twin:
    """Stands in for another worker, whose gradients are three times this one's.

    As on a GPU, a sum is there only after `wait`.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.sent: list[Tensor] = []
        self.waited = 0
        monkeypatch.setattr(distributed, "get_world_size", lambda: 2, raising=False)
        monkeypatch.setattr(distributed, "all_reduce", self.all_reduce, raising=False)

    def all_reduce(self, flat: Tensor, *, async_op: bool) -> Any:
        assert async_op
        self.sent.append(flat)
        twin, mine = self, flat.clone()
        flat.fill_(float("nan"))  # not to be read now

        class Work:
            def wait(self) -> None:
                twin.waited += 1
                flat.copy_(4 * mine)

        return Work()


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Twin:
    return Twin(monkeypatch)


def backward(network: nn.Module) -> None:
    images = torch.randn(4, *parts.IMAGE_SHAPE, generator=torch.Generator().manual_seed(0))
    network.zero_grad()
    network(images).square().sum().backward()


def pair() -> tuple[nn.Sequential, nn.Sequential]:
    """Two equal networks in channels-last layout."""
    one, other = (
        parts.student().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for _ in range(2)
    )
    return one, other


@pytest.mark.parametrize(
    ("most", "expected"), [(1, [1] * 8), (200, [5, 3]), (gradient_buckets.BUCKET_BYTES, [8])]
)
def test_gradients_are_averages_in_the_layout_of_their_parameters(
    twin: Twin, monkeypatch: pytest.MonkeyPatch, most: int, expected: list[int]
) -> None:
    monkeypatch.setattr(gradient_buckets, "BUCKET_BYTES", most)
    ours, plain = pair()
    parameters = list(ours.parameters())
    buckets = GradientBuckets(parameters)
    for _ in range(2):
        buckets.begin()
        backward(ours)
        buckets.finish()
        backward(plain)
        for mine, other in zip(parameters, plain.parameters(), strict=True):
            assert mine.grad is not None
            assert other.grad is not None
            assert torch.equal(mine.grad, 2 * other.grad)
            assert mine.grad.stride() == mine.stride()
    sizes = [len(bucket.parameters) for bucket in buckets.buckets]
    assert sizes == expected
    assert twin.waited == len(twin.sent) == 2 * len(sizes)


def test_buckets_are_sent_in_their_order_while_gradients_are_made(
    twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradient_buckets, "BUCKET_BYTES", 1)
    network = parts.student()
    buckets = GradientBuckets(list(network.parameters()))
    sent: list[int] = []
    network[2].register_full_backward_hook(lambda *_: sent.append(len(twin.sent)))
    buckets.begin()
    backward(network)
    assert sent[0] > 1, "the last layers' gradients are on their way"
    assert len(twin.sent) == len(buckets.buckets), "before finish"
    expected = [bucket.flat.data_ptr() for bucket in buckets.buckets]
    assert [flat.data_ptr() for flat in twin.sent] == expected
    buckets.finish()
    assert twin.waited == len(expected)


def test_the_order_does_not_follow_the_arrival(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers whose gradients come in another order would add unlike buckets otherwise."""
    monkeypatch.setattr(gradient_buckets, "BUCKET_BYTES", 1)
    weights = [torch.ones(size, requires_grad=True) for size in (2, 3, 4)]
    buckets = GradientBuckets(weights)
    for order in ((0, 1, 2), (2, 0, 1)):
        buckets.begin()
        for number in order:
            weights[number].grad = None
            weights[number].sum().backward()
        buckets.finish()
    assert [len(flat) for flat in twin.sent] == [4, 3, 2] * 2


def test_a_missing_gradient_counts_as_zeros(twin: Twin) -> None:
    weights = [torch.ones(2, requires_grad=True) for _ in range(2)]
    buckets = GradientBuckets(weights)
    for used in ((0, 1), (1,)):
        buckets.begin()
        for weight in weights:
            weight.grad = None
        sum(weights[number].sum() for number in used).backward()  # type: ignore[union-attr]
        buckets.finish()
    assert [weight.grad.tolist() for weight in weights if weight.grad is not None] == [
        [0.0, 0.0],
        [2.0, 2.0],
    ]


def test_an_interrupted_update_leaves_nothing(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_buckets, "BUCKET_BYTES", 1)
    weights = [torch.ones(2, requires_grad=True) for _ in range(2)]
    buckets = GradientBuckets(weights)
    buckets.begin()
    (3 * weights[1]).sum().backward()
    for weight in weights:
        weight.grad = None
    buckets.begin()
    (weights[0] + weights[1]).sum().backward()
    buckets.finish()
    assert len(twin.sent) == 3
    assert [weight.grad.tolist() for weight in weights if weight.grad is not None] == [
        [2.0] * 2
    ] * 2


def test_watching_keeps_no_autograd_node(twin: Twin) -> None:
    """A node belongs to the stream on which it was made, and two recordings have two streams."""
    weight = torch.ones(2, requires_grad=True)
    buckets = GradientBuckets([weight])
    for _ in range(2):
        buckets.begin()
        loss = (2 * weight).sum()
        assert loss.grad_fn is not None
        node = loss.grad_fn.next_functions[0][0].next_functions[0][0]  # type: ignore[union-attr]
        assert "AccumulateGrad" in type(node).__name__
        assert "used" not in node.metadata, "a new one in each update"  # type: ignore[union-attr]
        node.metadata["used"] = True  # type: ignore[union-attr]
        weight.grad = None
        loss.backward()
        buckets.finish()
        del node, loss


def test_a_bucket_has_one_type(twin: Twin) -> None:
    weights = [
        torch.ones(2, dtype=dtype, requires_grad=True)
        for dtype in (torch.float32, torch.float32, torch.float64, torch.float32)
    ]
    buckets = GradientBuckets(weights)
    assert [len(bucket.parameters) for bucket in buckets.buckets] == [1, 1, 2]
    assert [bucket.flat.dtype for bucket in buckets.buckets] == [
        torch.float32,
        torch.float64,
        torch.float32,
    ]
