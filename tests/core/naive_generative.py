"""DAFL, ZSKT, DFQ and DFAD a second time: slow, in loops, from the papers' equations.

Shares no arithmetic with `fastdfkd.core`; the tests only take the noise from the same streams.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import naive


@dataclass
class Seen:
    """What the two networks answer for some images."""

    teacher: nn.Sequential
    t: Tensor
    """Teacher's logits, (B, K)."""
    s: Tensor
    """Student's logits, (B, K)."""
    f: Tensor
    """The input of the teacher's last layer, (B, F)."""
    moments: list[naive.Moments]
    """Of the input of each BatchNorm layer of the teacher."""

    @classmethod
    def of(cls, teacher: nn.Sequential, student: nn.Sequential, inputs: Tensor) -> Seen:
        t, moments = naive.logits_and_moments(teacher, inputs)
        f, _ = naive.logits_and_moments(teacher[:-1], inputs)
        s, _ = naive.logits_and_moments(student, inputs)
        return cls(teacher, t, s, f, moments)


Loss = Callable[[Seen], Tensor]


def own_classes(seen: Seen) -> Tensor:
    """Cross-entropy of the teacher with its own argmax (L_oh of DAFL)."""
    return naive.cross_entropy(seen.t, torch.tensor([int(row.argmax()) for row in seen.t]))


def mean_feature(seen: Seen) -> Tensor:
    total = sum(abs(value) for row in seen.f for value in row)
    assert isinstance(total, Tensor)
    return total / seen.f.numel()


def negative_entropy_of_mean(seen: Seen) -> Tensor:
    """Sum over the classes of p ln p for the mean answer p (L_ie of DAFL)."""
    shares = naive.log_softmax(seen.t).exp()
    mean = sum(shares[1:], shares[0]) / len(shares)
    return sum((p * p.log() for p in mean), torch.zeros(()))


def mean_entropy(seen: Seen) -> Tensor:
    rows = naive.log_softmax(seen.t)
    return sum((-(row.exp() * row).sum() for row in rows), torch.zeros(())) / len(rows)


def divergence(seen: Seen) -> Tensor:
    return sum(naive.kl(seen.t, seen.s), torch.zeros(())) / len(seen.t)


def distance(seen: Seen) -> Tensor:
    count, classes = seen.t.shape
    total = torch.zeros(())
    for i in range(count):
        for k in range(classes):
            total = total + (seen.t[i, k] - seen.s[i, k]).abs()
    return total / (count * classes)


def norms(seen: Seen) -> Tensor:
    """L_bn of FastDFKD, Eq. 2."""
    total = torch.zeros(())
    for layer, (mean, var) in zip(_layers(seen), seen.moments, strict=True):
        total = total + (layer.running_var - var).square().sum().sqrt()
        total = total + (layer.running_mean - mean).square().sum().sqrt()
    return total


def gaussians(seen: Seen) -> Tensor:
    """Sum over layers and channels of ((m - M)^2 + v) / 2V - ln(sqrt v / sqrt V) - 1/2 (DFQ)."""
    total = torch.zeros(())
    for layer, (mean, var) in zip(_layers(seen), seen.moments, strict=True):
        columns = (mean, var, layer.running_mean, layer.running_var)
        for m, v, own_m, own_v in zip(*columns, strict=True):
            total = total + ((m - own_m) ** 2 + v) / (2 * own_v)
            total = total - (v.sqrt() / own_v.sqrt()).log() - 0.5
    return total


def _layers(seen: Seen) -> list[nn.BatchNorm2d]:
    return [layer for layer in seen.teacher if isinstance(layer, nn.BatchNorm2d)]


LOSSES: dict[str, Loss] = {
    "dafl": lambda x: own_classes(x) - 0.001 * mean_feature(x) + 20 * negative_entropy_of_mean(x),
    "zskt": lambda x: -divergence(x),
    "dfq": lambda x: norms(x) + own_classes(x) + 20 * negative_entropy_of_mean(x) - divergence(x),
    "dfad": lambda x: -distance(x),
    "dafl, own": lambda x: (
        0.05 * own_classes(x)
        - 0.01 * mean_feature(x)
        + 5 * negative_entropy_of_mean(x) / math.log(10)
    ),
    "dfq, own": lambda x: (
        0.1 * (gaussians(x) + mean_entropy(x) + negative_entropy_of_mean(x)) - divergence(x)
    ),
}
"""The losses of the comparison in FastDFKD's code, and the papers' own where they differ."""
CHANGES: dict[str, dict[str, object]] = {
    "dafl, own": {"oh": 0.05, "activation": 0.01, "balance": 5 / math.log(10)},
    "dfq, own": {
        "statistics": "gaussians",
        "bn": 0.1,
        "oh": 0.0,
        "confidence": 0.1,
        "balance": 0.1,
    },
}
"""The keys that give the papers' own losses."""


class Training:
    """A generator that torch's Adam trains in place."""

    def __init__(self, generator: nn.Module, lr: float):
        self.generator = copy.deepcopy(generator)
        self.adam = torch.optim.Adam(
            self.generator.parameters(), lr=lr, betas=(0.5, 0.999), foreach=False, fused=False
        )

    def step(self, z: Tensor, loss_of: Callable[[Tensor], Tensor]) -> float:
        """One Adam step on the loss of the images of z; returns the loss before it."""
        loss = loss_of(self.generator(z))
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        return loss.item()

    @torch.no_grad()
    def images(self, z: Tensor, part: int) -> Tensor:
        """Images of z, `part` at a time, as uint8."""
        parts = [self.generator(z[i : i + part]) for i in range(0, len(z), part)]
        return naive.to_uint8(torch.cat(parts))
