"""A fault of oneDNN. It may crash the process, so `network_trial` cannot test for it."""

from __future__ import annotations

from torch import nn

CORRUPTION = (
    "oneDNN writes outside its memory in a strided 1x1 convolution of fewer than 16 channels"
)


def corrupts_memory(network: nn.Module) -> bool:
    """Whether training the network in channels-last layout on the CPU would corrupt memory.

    The weight gradient of oneDNN's strided 1x1 convolution writes beyond its scratch memory if the
    input has fewer channels than a vector register holds values (uxlfoundation/oneDNN issue 6035;
    torch 2.9 to 2.14).
    """
    return any(
        isinstance(layer, nn.Conv2d)
        and layer.weight.device.type == "cpu"
        and set(layer.kernel_size) == {1}
        and max(layer.stride) > 1
        and layer.in_channels // layer.groups < 16
        for layer in network.modules()
    )
