"""How somebody's network is used: what its answers are, and what is done to it for speed.

A network is run in channels-last layout, under autocast, with its norms fused and its convolutions
folded. Each of these is a change that some networks cannot bear. `core/network_trial.py` tries them
and writes down what has to be left out; everybody who runs a network goes through its `NetworkUse`.
"""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from fastdfkd.core import frozen_logits, fused_norm
from fastdfkd.core.answers import Output, logits_in
from fastdfkd.core.precision import Precision, autocast

Change = Literal["channels_last", "fused_norms", "folded_logits", "autocast", "cuda_graphs"]
"""What may be done to a network.

channels_last   its weights and images lie in channels-last layout
fused_norms     its frozen BatchNorm and ReLU layers are one step (`core/fused_norm.py`)
folded_logits   its frozen BatchNorms are part of the convolutions (`core/frozen_logits.py`)
autocast        bfloat16, where the recipe's precision says so
cuda_graphs     its steps are recorded and replayed (`core/captured.py`)
"""


@dataclass(frozen=True, kw_only=True)
class NetworkUse:
    """How one network is run. The default makes every change and takes answers for logits."""

    output: Output = "logits"
    spatial_axes: int = 0
    """Axes of the logits after the classes (`TaskKind.spatial_axes`)."""
    left_out: Mapping[Change, str] = field(default_factory=dict)
    """Changes that this network does not bear, each with the reason."""
    idle_parameters: bool = False
    """Whether training gives some parameters no gradient (an auxiliary head, say)."""

    def bears(self, change: Change) -> bool:
        """Whether a change is made."""
        return change not in self.left_out

    def without(self, change: Change, reason: str) -> NetworkUse:
        """The same use without one change more."""
        return replace(self, left_out={**self.left_out, change: reason})

    def placed(self, network: nn.Module, device: torch.device | str) -> nn.Module:
        """The network itself, moved to `device` in the layout that it runs in."""
        network.to(device)
        if self.bears("channels_last"):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def frozen(self, network: nn.Module, device: torch.device | str) -> nn.Module:
        """The network itself, placed, in eval mode and without gradients for its parameters."""
        return freeze(self.placed(network, device))

    def images(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in the layout that the network runs in."""
        layout = torch.channels_last if self.bears("channels_last") else torch.contiguous_format
        return images.contiguous(memory_format=layout)

    def autocast(
        self, device: torch.device, precision: Precision
    ) -> AbstractContextManager[object]:
        """bf16 autocast where the precision says so and the network bears it."""
        return autocast(device, precision) if self.bears("autocast") else nullcontext()

    def logits(self, answer: object) -> Tensor:
        """The logits (B, K, *space) of an answer of the network."""
        return logits_in(answer, self.output, self.spatial_axes)

    def fused(self, network: nn.Module) -> nn.Module:
        """A frozen network with fused norms (`core/fused_norm.py`), or itself."""
        return fused_norm.fused(network) if self.bears("fused_norms") else network

    def for_logits(self, network: nn.Module, dtype: torch.dtype) -> nn.Module:
        """A frozen network for its logits alone (`core/frozen_logits.py`), or itself.

        Args:
            network: frozen, on its device.
            dtype: autocast's type; a network without autocast stays in float32.
        """
        if not self.bears("folded_logits"):
            return network
        return frozen_logits.for_logits(network, dtype if self.bears("autocast") else torch.float32)

    def line(self, name: str) -> str:
        """One line that says what is left out for the network called `name`, and why."""
        changes: dict[str, list[str]] = {}
        for change, reason in self.left_out.items():
            changes.setdefault(reason, []).append(change)
        reasons = "; ".join(f"{', '.join(those)} ({why})" for why, those in changes.items())
        return f"{name} runs without {reasons}" if reasons else ""


def freeze(network: nn.Module) -> nn.Module:
    """The network itself in eval mode, without gradients for its parameters."""
    network.eval()
    for parameter in network.parameters():  # script modules have no requires_grad_ of their own
        parameter.requires_grad_(False)
    return network


def load_state(network: nn.Module, state: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """`network.load_state_dict(state)` for tensors that came without their modules' versions.

    Some modules (torchvision's MNASNet) refuse a state whose version is not their own.
    """
    versioned = OrderedDict(state)
    versioned._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    network.load_state_dict(versioned, strict=strict)


def copied(network: nn.Module) -> nn.Module:
    """A copy with tensors of its own.

    Raises:
        ValueError: the network cannot be copied.
    """
    try:
        with torch.no_grad():  # script modules clone their weights by an operation
            twin = copy.deepcopy(network)
        for mine, original in zip(twin.parameters(), network.parameters(), strict=True):
            mine.requires_grad_(original.requires_grad)
        return twin
    except Exception as error:  # weight_norm of old keeps a tensor with a gradient's history
        try:
            twin = pickle.loads(pickle.dumps(network))
        except Exception:
            raise ValueError(
                f"a network of type {type(network).__name__} cannot be copied ({error}): keep "
                "locks, files, generators and the like out of its attributes"
            ) from error
        assert isinstance(twin, nn.Module)
        return twin
