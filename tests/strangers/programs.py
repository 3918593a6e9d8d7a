"""Networks as scripted, traced, compiled, wrapped, hooked or quantised programs."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from tests.strangers.base import CLASSES, SIDE, Base


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
