"""A fault of oneDNN that cannot be tried, because it ends the process."""

from __future__ import annotations

from torch import nn

CORRUPTION = (
    "oneDNN writes outside its memory in a strided 1x1 convolution of fewer than 16 channels"
)


def corrupts_memory(network: nn.Module) -> bool:
    """Whether training in channels-last layout would end in a crash, which cannot be tried.

    The weight gradient of oneDNN's strided 1x1 convolution overruns its scratch memory where fewer
    channels than a vector holds come in (uxlfoundation/oneDNN issue 6035; torch 2.9 to 2.14).
    """
    return any(
        isinstance(layer, nn.Conv2d)
        and layer.weight.device.type == "cpu"
        and set(layer.kernel_size) == {1}
        and max(layer.stride) > 1
        and layer.in_channels // layer.groups < 16
        for layer in network.modules()
    )
