"""The weight initialisation that published CIFAR networks use."""

from __future__ import annotations

from torch import nn


def initialise(network: nn.Module) -> None:
    """Apply He initialisation in place: convolutions from N(0, 2 / (k * k * out)), biases 0.

    BatchNorm layers keep torch's initial weight 1 and bias 0. Linear weights keep torch's uniform
    draw. Source: He et al., arXiv 1502.01852, in the fan-out form that residual networks use.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
