"""A fault of oneDNN, and a layer without it.

The fault may crash the process, so `network_trial` cannot test for it.
"""

from __future__ import annotations

from typing import TypeGuard

from torch import Tensor, nn

CORRUPTION = (
    "oneDNN writes outside its memory in a strided 1x1 convolution of fewer than 16 channels"
)


class PixelSelectingConv2d(nn.Conv2d):
    """A 1x1 convolution whose stride is taken before it: pixels are selected, then convolved.

    The result is that of the strided one. Its weight gradient writes nowhere else.
    """

    picks: tuple[int, ...]
    """Stride of the selection, by rows and columns."""

    @classmethod
    def convert(cls, layer: nn.Conv2d) -> None:
        """Make it of a 1x1 convolution without padding, in place, with its weights."""
        vars(layer).update(picks=layer.stride, stride=(1, 1))
        layer.__class__ = cls

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        rows, columns = self.picks
        return super().forward(x[:, :, ::rows, ::columns])


def corrupts_memory(network: nn.Module) -> bool:
    """Whether training the network in channels-last layout on the CPU would corrupt memory."""
    return any(map(is_corrupting, network.modules()))


def is_corrupting(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether training a layer in channels-last layout on the CPU would corrupt memory.

    The weight gradient of oneDNN's strided 1x1 convolution writes beyond its scratch memory if the
    input has fewer channels than a vector register holds values (uxlfoundation/oneDNN issue 6035;
    torch 2.9 to 2.14).
    """
    return (
        isinstance(layer, nn.Conv2d)
        and layer.weight.device.type == "cpu"
        and set(layer.kernel_size) == {1}
        and max(layer.stride) > 1
        and layer.in_channels // layer.groups < 16
    )
