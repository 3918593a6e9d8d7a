"""How to run a given network: what its outputs hold, and which changes for speed it bears.

By default a network runs in channels-last layout, under autocast, with fused norms and folded
convolutions. Some networks do not bear some of these changes. `core/network_trial.py` tests them
and returns a `NetworkUse`, through which all code runs the network.
"""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from fastdfkd.core import frozen_logits, fused_norm, torch_versions
from fastdfkd.core.answers import Output, logits_in
from fastdfkd.core.precision import Precision, autocast

Change = Literal["channels_last", "fused_norms", "folded_logits", "autocast", "cuda_graphs"]
"""A change that makes a network faster.

channels_last   weights and images are in channels-last layout
fused_norms     each frozen BatchNorm and its ReLU are one step (`core/fused_norm.py`)
folded_logits   frozen BatchNorms are part of the convolutions (`core/frozen_logits.py`)
autocast        bfloat16, if the precision of the recipe asks for it
cuda_graphs     steps are recorded and replayed (`core/captured.py`)
"""


@dataclass(frozen=True, kw_only=True)
class NetworkUse:
    """How to run one network. The default makes every change and expects logits."""

    output: Output = "logits"
    """What the network's outputs hold."""
    spatial_axes: int = 0
    """Axes of the logits after the classes (`TaskKind.spatial_axes`)."""
    left_out: Mapping[Change, str] = field(default_factory=dict)
    """Changes that this network does not bear, each with its reason."""
    idle_parameters: bool = False
    """Whether some parameters get no gradient in training, as those of an auxiliary head."""

    def bears(self, change: Change) -> bool:
        """Whether the network bears a change."""
        return change not in self.left_out

    def without(self, change: Change, reason: str) -> NetworkUse:
        """A copy of this use that leaves out one more change."""
        return replace(self, left_out={**self.left_out, change: reason})

    def placed(self, network: nn.Module, device: torch.device | str) -> nn.Module:
        """Move the network to `device` and to its memory layout; returns the same network."""
        network.to(device)
        if self.bears("channels_last"):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def frozen(self, network: nn.Module, device: torch.device | str) -> nn.Module:
        """`placed`, then in eval mode and without gradients for parameters."""
        return freeze(self.placed(network, device))

    def images(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in the memory layout of the network."""
        layout = torch.channels_last if self.bears("channels_last") else torch.contiguous_format
        return images.contiguous(memory_format=layout)

    def autocast(
        self, device: torch.device, precision: Precision
    ) -> AbstractContextManager[object]:
        """bf16 autocast if `precision` asks for it and the network bears it."""
        return autocast(device, precision) if self.bears("autocast") else nullcontext()

    def logits(self, answer: object) -> Tensor:
        """The logits (B, K, *space) in an output of the network."""
        return logits_in(answer, self.output, self.spatial_axes)

    def asking(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        """A function that gives a network's logits for images (B, C, H, W)."""
        return lambda images: self.logits(network(images))

    def fused(self, network: nn.Module) -> nn.Module:
        """A frozen network with fused norms, or the network itself if it does not bear them."""
        return fused_norm.fused(network) if self.bears("fused_norms") else network

    def for_logits(self, network: nn.Module, dtype: torch.dtype) -> nn.Module:
        """A frozen network for inference only (`core/frozen_logits.py`), or the network itself.

        Args:
            network: frozen, on its device.
            dtype: type of autocast; a network that does not bear autocast stays in float32.
        """
        if not self.bears("folded_logits"):
            return network
        return frozen_logits.for_logits(network, dtype if self.bears("autocast") else torch.float32)

    def line(self, name: str) -> str:
        """One line that lists the changes left out for the network called `name`, and why."""
        changes: dict[str, list[str]] = {}
        for change, reason in self.left_out.items():
            changes.setdefault(reason, []).append(change)
        reasons = "; ".join(f"{', '.join(those)} ({why})" for why, those in changes.items())
        return f"{name} runs without {reasons}" if reasons else ""


def freeze(network: nn.Module) -> nn.Module:
    """Set eval mode and disable gradients of parameters; returns the same network."""
    network.eval()
    for parameter in network.parameters():  # TorchScript modules lack requires_grad_
        parameter.requires_grad_(False)
    return network


def load_state(network: nn.Module, state: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """`network.load_state_dict(state)` for a state without the version numbers of its modules.

    Some modules (torchvision's MNASNet) refuse a state without their version number.
    """
    versioned = OrderedDict(state)
    torch_versions.add_versions(versioned, network)
    network.load_state_dict(versioned, strict=strict)


def copied(network: nn.Module) -> nn.Module:
    """A deep copy of a network.

    Raises:
        ValueError: the network cannot be copied.
    """
    try:
        with torch.no_grad():  # TorchScript modules clone weights by an operation
            twin = copy.deepcopy(network)
        for mine, original in zip(twin.parameters(), network.parameters(), strict=True):
            mine.requires_grad_(original.requires_grad)
        return twin
    except Exception as error:  # the old weight_norm holds a tensor that is no leaf
        try:
            twin = pickle.loads(pickle.dumps(network))
        except Exception:
            raise ValueError(
                f"a network of type {type(network).__name__} cannot be copied ({error}): remove "
                "locks, files, generators and the like from its attributes"
            ) from error
        assert isinstance(twin, nn.Module)
        return twin
