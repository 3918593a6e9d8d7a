"""Small networks as people write them, each with a habit that a tool for any network meets."""

from __future__ import annotations

import threading
import warnings
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

SIDE, CHANNELS, CLASSES = 16, 1, 10
Pair = namedtuple("Pair", "logits aux")


class Base(nn.Module):
    """Convolution, BatchNorm, ReLU, another, pooled to 4x4; a linear head. Subclasses vary it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.head = nn.Linear(128, CLASSES)

    def maps(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        result: Tensor = self.pool(F.relu(self.bn2(self.conv2(x))))
        return result

    def flat(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def logits(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.flat(self.maps(x)))
        return result

    def forward(self, x: Tensor) -> Any:
        return self.logits(x)


class Views(Base):
    def flat(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), -1)


class ViewsByNumber(Base):
    def flat(self, x: Tensor) -> Tensor:
        return x.view(-1, 128)


class ViewsPermuted(Base):
    def flat(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).contiguous().view(x.size(0), -1)


class Strided(Base):
    """Reads memory as if it were row-major, whatever it is."""

    def flat(self, x: Tensor) -> Tensor:
        return torch.as_strided(x, (x.size(0), 128), (128, 1))


class ShufflesChannels(Base):
    def maps(self, x: Tensor) -> Tensor:
        x = super().maps(x)
        b, c, h, w = x.shape
        return x.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)


class ReturnsPair(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x), x


class ReturnsTuple1(Base):
    def forward(self, x: Tensor) -> Any:
        return (self.logits(x),)


class ReturnsList(Base):
    def forward(self, x: Tensor) -> Any:
        return [self.logits(x), None]


class ReturnsDict(Base):
    def forward(self, x: Tensor) -> Any:
        maps = self.maps(x)
        return {"features": maps, "logits": self.head(self.flat(maps))}


class ReturnsSingleEntry(Base):
    def forward(self, x: Tensor) -> Any:
        return {"out": self.logits(x)}


@dataclass
class Output:
    loss: Tensor | None
    logits: Tensor


class ReturnsObject(Base):
    def forward(self, x: Tensor) -> Any:
        return Output(None, self.logits(x))


class AuxiliaryInTraining(Base):
    """As GoogLeNet: a named tuple in train mode alone."""

    def __init__(self) -> None:
        super().__init__()
        self.aux = nn.Linear(128, CLASSES)

    def forward(self, x: Tensor) -> Any:
        flat = self.flat(self.maps(x))
        return Pair(self.head(flat), self.aux(flat)) if self.training else self.head(flat)


class DeepSupervision(AuxiliaryInTraining):
    def forward(self, x: Tensor) -> Any:
        flat = self.flat(self.maps(x))
        deep = {"logits": self.head(flat), "deep": [self.aux(flat)]}
        return deep if self.training else self.head(flat)


class KeepsUnitSides(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x)[..., None, None]


class Squeezes(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x)[..., None, None].squeeze()


class Softmax(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x).softmax(1)


class LogSoftmax(Base):
    def forward(self, x: Tensor) -> Any:
        return F.log_softmax(self.logits(x), 1)


class Sigmoid(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x).sigmoid()


class OneNumber(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x)[:, 0]


class Segments(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x)[:, :, None, None].expand(-1, -1, SIDE, SIDE)


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


def hooked() -> nn.Module:
    network = Base()
    network.bn1.register_forward_hook(_doubled)
    return network


def _doubled(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return output * 2


def scripted() -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        return torch.jit.script(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), *_tail()))  # type: ignore[no-any-return]


def _tail() -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, CLASSES)]


def scripted_with_norm() -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *_tail())
        return torch.jit.script(network)  # type: ignore[no-any-return]


def traced() -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), *_tail())
        return torch.jit.trace(network, torch.zeros(2, 1, SIDE, SIDE))  # type: ignore[no-any-return, no-untyped-call]


def exported() -> nn.Module:
    return torch.export.export(Base().eval(), (torch.zeros(2, 1, SIDE, SIDE),)).module()


def exported_program() -> Any:
    return torch.export.export(Base().eval(), (torch.zeros(2, 1, SIDE, SIDE),))


def compiled() -> nn.Module:
    result: Any = torch.compile(Base())
    return result  # type: ignore[no-any-return]


def compiled_in_place() -> nn.Module:
    network = Base()
    network.compile()
    return network


def data_parallel() -> nn.Module:
    return nn.DataParallel(Base())


def symbolically_traced() -> nn.Module:
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
    return torch.fx.symbolic_trace(nn.Sequential(*layers, *_tail()))


def parametrised() -> nn.Module:
    network = Base()
    nn.utils.parametrizations.weight_norm(network.conv2)
    return network


def weight_norm_of_old() -> nn.Module:
    network = Base()
    with warnings.catch_warnings(action="ignore"):
        nn.utils.weight_norm(network.conv2)
    network(torch.zeros(2, 1, SIDE, SIDE))
    return network


def spectral_norm_of_old() -> nn.Module:
    network = Base()
    nn.utils.spectral_norm(network.conv2)
    network(torch.zeros(2, 1, SIDE, SIDE))
    return network


def quantised() -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        return torch.ao.quantization.quantize_dynamic(Base(), {nn.Linear})  # type: ignore[no-any-return, no-untyped-call]


def needs_arguments(depth: int, width: int, *, act: str = "relu") -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width)]
    for _ in range(depth):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """What is expected of a network in both roles."""

    build: Callable[..., Any]
    teacher: str = ""
    """Pattern of the refusal as teacher; empty: it runs."""
    student: str = ""
    without: frozenset[str] = frozenset()
    """Changes that must be left out for the teacher or the student."""
    bn: float = 1.0
    output: str = "logits"
    both_precisions: bool = False
    arguments: tuple[tuple[str, Any], ...] = ()


def _kind(build: Callable[..., Any], *without: str, **facts: Any) -> Stranger:
    return Stranger(build=build, without=frozenset(without), **facts)


_FIXED = "exported in and does not show its layers"
_MISSING = "missing a required argument.*`arguments`"
_QUANTISED = r"head.* quantised\. Integer layers pass no gradient"

STRANGERS: dict[str, Stranger] = {
    "plain": _kind(Base, both_precisions=True),
    "view": _kind(Views, "channels_last", "folded_logits", both_precisions=True),
    "view by number": _kind(ViewsByNumber, "channels_last", "folded_logits"),
    "view of a permutation": _kind(ViewsPermuted),
    "as_strided": _kind(Strided, "channels_last", "folded_logits"),
    "channel shuffle": _kind(ShufflesChannels),
    "pair": _kind(ReturnsPair),
    "tuple of one": _kind(ReturnsTuple1, both_precisions=True),
    "list": _kind(ReturnsList),
    "dict": _kind(ReturnsDict, both_precisions=True),
    "dict of one": _kind(ReturnsSingleEntry),
    "object": _kind(ReturnsObject),
    "named tuple in training": _kind(AuxiliaryInTraining, both_precisions=True),
    "dict in training": _kind(DeepSupervision),
    "unit sides": _kind(KeepsUnitSides),
    "squeeze": _kind(Squeezes),
    "softmax": _kind(Softmax, teacher="output to probabilities", student="output to probabilities"),
    "softmax, said": _kind(Softmax, output="probabilities", both_precisions=True),
    "log-softmax": _kind(LogSoftmax, teacher="log_probabilities", student="log_probabilities"),
    "log-softmax, said": _kind(LogSoftmax, output="log_probabilities"),
    "logits, said to be probabilities": _kind(
        Base, output="probabilities", teacher="are not: they lie", student="are not: they lie"
    ),
    "sigmoid": _kind(Sigmoid, teacher="multi-label", student="multi-label"),
    "one number": _kind(OneNumber, teacher="binary_logit", student="binary_logit"),
    "maps of logits": _kind(Segments, teacher="maps of logits", student="maps of logits"),
    "GroupNorm": _kind(GroupNorms, bn=0.0),
    "GroupNorm with bn": _kind(GroupNorms, teacher="has no BatchNorm layer"),
    "InstanceNorm": _kind(InstanceNorms, bn=0.0),
    "BatchNorm without affine": _kind(NoAffine, both_precisions=True),
    "BatchNorm1d": _kind(NormsVectors, "fused_norms", "folded_logits"),
    "one BatchNorm twice": _kind(SharedNorm),
    "F.batch_norm": _kind(FunctionalNorm, bn=0.0),
    "dropout": _kind(Drops),
    "noise": _kind(Noisy),
    "branch on values": _kind(BranchesOnValues, "fused_norms", "folded_logits"),
    "item()": _kind(AsksForNumbers, "fused_norms", "folded_logits"),
    "branch on shape": _kind(BranchesOnShape, "fused_norms", "folded_logits"),
    "in place": _kind(BeginsInPlace),
    "counter": _kind(Counts),
    "own constants": _kind(OwnConstants, both_precisions=True),
    "float64 inside": _kind(DoubleInside),
    "own autograd function": _kind(OwnFunction),
    "float32 only": _kind(Float32Only, "autocast", both_precisions=True),
    "depthwise": _kind(Grouped),
    "thin projection": _kind(ThinProjection, "channels_last"),
    "Conv3d": _kind(Volumes, "channels_last"),
    "GRU": _kind(Recurrent, "fused_norms", "folded_logits"),
    "attention": _kind(Attends, both_precisions=True),
    "FFT": _kind(Frequencies),
    "frozen stem": _kind(FrozenStem),
    "unused layer": _kind(UnusedLayer),
    "tied heads": _kind(TiedHeads),
    "checkpoint": _kind(Checkpointed),
    "norms in eval": _kind(KeepsNormsInEval),
    "slow statistics": _kind(SlowStatistics, teacher="NaN or infinity for random images"),
    "versions": _kind(Versioned),
    "lock": _kind(Locks, teacher="cannot pickle", student="cannot pickle"),
    "transposed": _kind(Transposed),
    "bfloat16 answers": _kind(HalfAnswers),
    "hook": _kind(hooked, "fused_norms", "folded_logits"),
    "script": _kind(scripted, bn=0.0, both_precisions=True),
    "script with BatchNorm": _kind(scripted_with_norm),
    "traced": _kind(traced, bn=0.0),
    "exported": _kind(exported, teacher=_FIXED, student=_FIXED),
    "exported program": _kind(exported_program, teacher=_FIXED, student=_FIXED),
    "compiled": _kind(compiled),
    "compiled in place": _kind(compiled_in_place),
    "DataParallel": _kind(data_parallel),
    "FX": _kind(symbolically_traced),
    "parametrised": _kind(parametrised, student="conv2 are parametrised"),
    "weight_norm": _kind(weight_norm_of_old, "fused_norms", "folded_logits"),
    "spectral_norm": _kind(spectral_norm_of_old, "fused_norms", "folded_logits"),
    "quantised": _kind(quantised, teacher=_QUANTISED, student=_QUANTISED),
    "arguments": _kind(needs_arguments, arguments=(("depth", 1), ("width", 8))),
    "arguments missing": _kind(needs_arguments, teacher=_MISSING, student=_MISSING),
}
"""About the habit, never about the size: each runs two rounds in a fraction of a second."""


def build(name: str, **arguments: Any) -> Any:
    """The network of the table called `name`, with weights that depend on nothing else."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return STRANGERS[name].build(**arguments)
