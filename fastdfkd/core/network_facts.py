"""What a network consists of, what it answers and what one image costs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from fastdfkd.core import torch_versions
from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.frozen_logits import foldable
from fastdfkd.core.fused_norm import has_norms
from fastdfkd.core.network_use import Change, NetworkUse, copied, freeze
from fastdfkd.core.precision import Precision, resolve_precision


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """A network's parts, its cost for one image, and what it answers."""

    network: str
    """Name of its class."""
    layers: dict[str, int]
    """Number of layers that have tensors of their own, by kind."""
    parameters: int
    """Numbers in its parameters."""
    macs: int | None
    """Multiply-accumulate operations for one image, in convolutions, matrix products and attention;
    None: not counted, or the network cannot be observed while it runs."""
    statistics: dict[str, int]
    """Number of layers whose running statistics a forward pass uses, by kind."""
    answer: str
    """Type of what it returns."""
    logits: tuple[int, ...]
    """Shape of the logits for one image, (K, *space)."""
    output: str
    """What the returned numbers are declared to be (`answers.Output`)."""

    @classmethod
    def of(
        cls,
        network: nn.Module,
        use: NetworkUse,
        image_shape: Sequence[int],
        *,
        count_macs: bool = False,
    ) -> NetworkFacts:
        """Run a copy of a network on one image. The network and random states are not changed.

        Args:
            network: passed `network_contract`.
            use: how it is run.
            image_shape: (C, H, W).
            count_macs: run it once more, to count its multiplications.
        """
        twin = freeze(copied(network))
        image = _image(twin, image_shape)
        statistics = BatchNormStatistics(twin)
        layers = statistics.layers
        devices = [image.device] if image.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            with statistics.watching():
                answer = twin(image)
                used = [
                    _kind(layers[name]) if name in layers else "call of batch_norm"
                    for name in statistics.newest
                ]
            macs = _macs(twin, image) if count_macs else None
        return cls(
            network=_kind(network),
            layers=dict(Counter(_kind(m) for m in network.modules() if _has_tensors(m))),
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            macs=macs,
            statistics=dict(Counter(used)),
            answer=type(answer).__name__,
            logits=tuple(use.logits(answer).shape[1:]),
            output=str(use.output),
        )

    @property
    def summary(self) -> str:
        """One line for a log."""
        statistics = counted(self.statistics) or "none"
        return (
            f"{self.network}: {counted(self.layers)}; {self.parameters:,} parameters; layers "
            f"with statistics: {statistics}; answers {self.answer} with {self.output} {self.logits}"
        )


def counted(counts: Mapping[str, int]) -> str:
    """`14 Conv2d, 13 BatchNorm2d`, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda each: -each[1])
    return ", ".join(f"{count} {kind}" for kind, count in ordered)


def fast_paths(
    network: nn.Module,
    use: NetworkUse,
    *,
    device: torch.device,
    precision: Precision,
    graphs: str = "",
    student: bool = False,
) -> dict[Change, str]:
    """Each change for speed with the reason why it is not made to this network, "" if it is.

    Args:
        network: as it was tried.
        use: result of `network_trial.find_network_use`.
        device: where it runs.
        precision: of the recipe.
        graphs: why no step is captured; "": steps are.
        student: whether the network is a student, whose convolutions are never folded.
    """
    found: dict[Change, str] = {"channels_last": "", "fused_norms": "", "autocast": ""}
    if not has_norms(network):
        found["fused_norms"] = "it has no BatchNorm of torch's with running statistics"
    if not student:
        found["folded_logits"] = "" if foldable(network) else "it has no convolution to fold into"
    if resolve_precision(device, precision) == "float32":
        asked = "the recipe asks for float32" if precision == "float32" else ""
        found["autocast"] = asked or f"this {device.type} does not multiply in bfloat16"
    found["cuda_graphs"] = graphs
    return found | dict(use.left_out)


def _image(network: nn.Module, image_shape: Sequence[int]) -> Tensor:
    like = next(network.parameters(), torch.zeros(()))
    return torch.zeros(1, *image_shape, device=like.device, dtype=like.dtype)


def _macs(network: nn.Module, image: Tensor) -> int | None:
    counter = _FlopCounter()
    try:
        with counter:
            network(image)
    except Exception:  # a forward may refuse to run below a dispatch mode
        return None
    return counter.flops // 2  # a multiply-accumulate counts as two there


class _FlopCounter(torch_versions.DispatchMode):  # type: ignore[no-untyped-call]
    """Applies torch's formulas. `FlopCounterMode` does too, but first imports torch's compiler."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        out = func(*args, **given)
        formula = flop_registry.get(torch_versions.packet_of(func))
        if formula is not None:
            self.flops += int(formula(*args, **given, out_val=out))
        return out


def _kind(module: nn.Module) -> str:
    """Name of a module's class; of a TorchScript module, that of the class it was made from."""
    return str(getattr(module, "original_name", type(module).__name__))


def _has_tensors(module: nn.Module) -> bool:
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return bool(own)
