"""The weight initialisation that the published CIFAR networks share."""

from __future__ import annotations

from torch import nn


def initialise(network: nn.Module) -> None:
    """He initialisation, in place: convolutions N(0, 2 / (k * k * out)), every bias 0.

    BatchNorm keeps torch's 1 and 0, linear weights keep torch's uniform draw. Source: He et al.,
    arXiv 1502.01852, in the fan-out form that residual networks use.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
