"""Networks by their layers and by what they do in between."""

from __future__ import annotations

import threading
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.strangers.base import CLASSES, SIDE, Base


class GroupNorms(Base):
    def __init__(self) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.GroupNorm(2, 8), nn.GroupNorm(2, 8)


class InstanceNorms(Base):
    def __init__(self) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.InstanceNorm2d(8), nn.InstanceNorm2d(8, affine=True)


class NoAffine(Base):
    def __init__(self) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(8, affine=False)
        self.bn2 = nn.BatchNorm2d(8, momentum=None)


class NormsVectors(Base):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(128)

    def flat(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(x.reshape(len(x), -1))
        return result


class SharedNorm(Base):
    """One BatchNorm layer, met twice."""

    def __init__(self) -> None:
        super().__init__()
        self.bn2 = self.bn1


class FunctionalNorm(Base):
    """`F.batch_norm` with buffers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1 = self.bn2 = nn.Identity()
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("var", torch.ones(8))

    def maps(self, x: Tensor) -> Tensor:
        x = F.batch_norm(self.conv1(x), self.mean, self.var, training=self.training)
        result: Tensor = self.pool(F.relu(self.conv2(F.relu(x))))
        return result


class Drops(Base):
    def flat(self, x: Tensor) -> Tensor:
        return F.dropout(x.flatten(1), 0.3, self.training)


class Noisy(Base):
    def flat(self, x: Tensor) -> Tensor:
        return (x + 0.1 * torch.randn_like(x) if self.training else x).flatten(1)


class BranchesOnValues(Base):
    def flat(self, x: Tensor) -> Tensor:
        return x.flatten(1) if x.mean() > -1e9 else -x.flatten(1)


class AsksForNumbers(Base):
    def flat(self, x: Tensor) -> Tensor:
        return (x / max(x.abs().max().item(), 1.0)).flatten(1)


class BranchesOnShape(Base):
    def maps(self, x: Tensor) -> Tensor:
        if x.shape[-1] != SIDE:
            x = F.interpolate(x, (SIDE, SIDE))
        return super().maps(x)


class BeginsInPlace(Base):
    def forward(self, x: Tensor) -> Any:
        x -= 0.5
        x.mul_(2)
        return self.logits(x)


class Counts(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scale", torch.full((1,), 2.0), persistent=False)

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return self.logits(x * self.scale)


class OwnConstants(Base):
    """Makes float32 tensors in its forward."""

    def forward(self, x: Tensor) -> Any:
        return self.logits(x) @ torch.eye(CLASSES)


class DoubleInside(Base):
    def forward(self, x: Tensor) -> Any:
        flat = self.flat(self.maps(x)).double()
        return flat @ self.head.weight.double().T


class Doubling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 2


class OwnFunction(Base):
    def flat(self, x: Tensor) -> Tensor:
        return Doubling.apply(x).flatten(1)  # type: ignore[no-any-return, no-untyped-call]


class Float32Only(Base):
    """Takes four bytes for a number."""

    def flat(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return flat + 0 * flat.detach().view(torch.float32)


class Grouped(Base):
    def __init__(self) -> None:
        super().__init__()
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, groups=8)


class ThinProjection(Base):
    """A strided 1x1 convolution of few channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2 = nn.Conv2d(8, 8, 1, stride=2, bias=False)


class Volumes(Base):
    def __init__(self) -> None:
        super().__init__()
        self.volume = nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        return self.logits(self.volume(x[:, None])[:, 0])


class Recurrent(Base):
    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.GRU(32, 16, batch_first=True)
        self.head = nn.Linear(16, CLASSES)

    def flat(self, x: Tensor) -> Tensor:
        states: Tensor = self.rows(x.flatten(2).reshape(len(x), 4, 32))[0]
        return states[:, -1]


class Attends(Base):
    """Tokens, LayerNorm, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, CLASSES)

    def flat(self, x: Tensor) -> Tensor:
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        result: Tensor = self.attention(tokens, tokens, tokens)[0].mean(1)
        return result


class Frequencies(Base):
    def flat(self, x: Tensor) -> Tensor:
        return torch.fft.rfft2(x.float()).abs().mean((2, 3)).repeat(1, 16)


class FrozenStem(Base):
    def __init__(self) -> None:
        super().__init__()
        self.conv1.requires_grad_(False)


class UnusedLayer(Base):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)


class TiedHeads(Base):
    def __init__(self) -> None:
        super().__init__()
        self.twin = self.head

    def forward(self, x: Tensor) -> Any:
        flat = self.flat(self.maps(x))
        return self.head(flat) + self.twin(flat)


class Checkpointed(Base):
    def forward(self, x: Tensor) -> Any:
        return self.head(self.flat(checkpoint(self.maps, x, use_reentrant=False)))


class KeepsNormsInEval(Base):
    def train(self, mode: bool = True) -> KeepsNormsInEval:
        super().train(mode)
        self.bn1.eval()
        return self


class SlowStatistics(Base):
    """As MnasNet: momentum 0.0003, and maps that grow without bound until statistics are warm."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1.momentum = self.bn2.momentum = 3e-4

    def flat(self, x: Tensor) -> Tensor:
        return x.flatten(1) if self.training else x.flatten(1) * torch.inf


class Versioned(Base):
    """As MnasNet: takes no state of an unknown version."""

    _version = 2

    def _load_from_state_dict(self, state: Any, prefix: str, meta: Any, *rest: Any) -> None:
        if meta.get("version") not in (1, 2):
            raise ValueError(f"version should be 1 or 2, not {meta.get('version')}")
        super()._load_from_state_dict(state, prefix, meta, *rest)


class Locks(Base):
    """Cannot be sent to another process."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Transposed(Base):
    def forward(self, x: Tensor) -> Any:
        return (self.head.weight @ self.flat(self.maps(x)).T).T


class HalfAnswers(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x).bfloat16()
