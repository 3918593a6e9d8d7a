"""Finds the layers that normalise by running statistics: by what they do, not by their class.

A module counts if it holds `running_mean` and `running_var`, one number per channel each, and its
output depends on x, mean m and variance v only through (x - m) / sqrt(v). This includes torch's
BatchNorm of every kind, torchvision's FrozenBatchNorm2d and timm's BatchNormAct2d. It excludes a
module that convolves before it normalises: what it normalises is not its input.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fastdfkd.core import torch_versions

Kind = Literal["norm", "norm_relu", "other"]
"""What a layer with statistics computes in eval mode.

norm        (x - m) / sqrt(v + eps) * weight + bias
norm_relu   the same, then ReLU
other       something else after the normalisation, or statistics of each image on its own
"""
_KNOWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_AXES = (2, 0, 1, 3)
"""Axes after the channels of the inputs with which an unknown module is tried."""
_SPREAD = 1e4
"""Deviation of these inputs: so large that eps has no effect."""
_CLOSE = 1e-3
"""Relative and absolute tolerance of equal outputs."""


def normalising_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of a model that normalise by running statistics, by name."""
    return {name: module for name, module in model.named_modules() if normalises(module)}


def normalises(module: nn.Module) -> bool:
    """Whether a module normalises its input by its running statistics."""
    return kind_of(module) is not None


def per_image(module: nn.Module) -> bool:
    """Whether the running statistics of a layer are means over the statistics of single images.

    So it is if the layer normalises each image by itself in train mode, as InstanceNorm does. This
    is tried on a copy: the output for an image may not change when the image is shifted and another
    image takes the place of its neighbour.
    """
    if type(module) in _KNOWN:
        return False
    return any(_alone(module, axes) for axes in _AXES if axes)


def kind_of(module: nn.Module) -> Kind | None:
    """What a module computes; None if it does not normalise by its running statistics."""
    if not _has_statistics(module):
        return None
    if type(module) in _KNOWN:
        return "norm"
    kind = next((kind for axes in _AXES if (kind := _tried(module, axes)) is not None), None)
    return "other" if kind is not None and per_image(module) else kind


def _has_statistics(module: nn.Module) -> bool:
    if isinstance(module, torch.jit.ScriptModule):  # runs without Python, so that no hook is called
        return False
    mean, var = (getattr(module, name, None) for name in ("running_mean", "running_var"))
    if not isinstance(mean, Tensor) or not isinstance(var, Tensor) or is_lazy(mean):
        return False
    return mean.ndim == 1 and mean.shape == var.shape and mean.is_floating_point()


@torch.no_grad()
def _tried(module: nn.Module, axes: int) -> Kind | None:
    """`kind_of` for an unknown module and inputs with `axes` axes after the channels.

    A copy of it gets other statistics. Its output may not change when input and statistics are
    shifted or scaled together.
    """
    try:
        twin: Any = _twin(module)
        channels = len(twin.running_mean)
        draws = torch.Generator().manual_seed(0)
        shape = (1, channels, *[1] * axes)
        noise = _values().reshape(-1, *[1] * (1 + axes)).repeat(1, channels, *[2] * axes)
        mean = torch.randn(channels, generator=draws, dtype=torch.float64) * _SPREAD
        std = (torch.rand(channels, generator=draws, dtype=torch.float64) + 0.5) * _SPREAD
        outputs = []
        for shift, scale in ((0.0, 1.0), (_SPREAD, 1.0), (0.0, 2.0)):
            twin.running_mean.copy_(mean + shift)
            twin.running_var.copy_((std * scale).square())
            x = noise * (std * scale).reshape(shape) + (mean + shift).reshape(shape)
            outputs.append(twin(x))
        if any(y.shape != noise.shape for y in outputs) or not _varies(outputs[0]):
            return None
        if not all(torch.allclose(y, outputs[0], rtol=_CLOSE, atol=_CLOSE) for y in outputs[1:]):
            return None
        return _affine_kind(twin, noise, outputs[0], shape)
    except Exception:  # a user's forward may raise anything
        return None


@torch.no_grad()
def _alone(module: nn.Module, axes: int) -> bool:
    """`per_image` for inputs with `axes` axes after the channels."""
    try:
        twin: Any = _twin(module).train()
        draws = torch.Generator().manual_seed(0)
        shape = (3, len(twin.running_mean), *[4] * axes)
        image, one, other = torch.randn(*shape, generator=draws, dtype=torch.float64)
        with_one, with_other = (
            twin(torch.stack([image + shift, neighbour]))[0]
            for shift, neighbour in ((0.0, one), (1.0, other))
        )
        return _varies(with_one) and torch.allclose(with_one, with_other, rtol=_CLOSE, atol=_CLOSE)
    except Exception:  # a user's forward may raise anything
        return False


def _values() -> Tensor:
    """Normalised values, small and large, so that ReLU is told from ReLU6, SiLU and the like."""
    return torch.cat([torch.linspace(-end, end, 8, dtype=torch.float64) for end in (2, 40)])


def _twin(module: nn.Module) -> nn.Module:
    """A copy on the CPU in float64 and eval mode, without hooks."""
    twin = copy.deepcopy(module).to("cpu", torch.float64).eval()
    for part in twin.modules():
        torch_versions.drop_hooks(part)
    return twin


def _varies(y: Tensor) -> bool:
    return bool((y.amax() - y.amin()) > 0) and bool(torch.isfinite(y).all())


def _affine_kind(twin: Any, noise: Tensor, y: Tensor, shape: Sequence[int]) -> Kind:
    """The kind, from the output `y` for inputs whose normalised values are `noise`."""
    if not isinstance(getattr(twin, "eps", None), float):
        return "other"
    expected = noise
    for name, combine in (("weight", torch.mul), ("bias", torch.add)):
        factor = getattr(twin, name, None)
        if factor is not None:
            if not isinstance(factor, Tensor) or factor.shape != twin.running_mean.shape:
                return "other"
            expected = combine(expected, factor.reshape(shape))
    if torch.allclose(y, expected, rtol=_CLOSE, atol=_CLOSE):
        return "norm"
    return "norm_relu" if torch.allclose(y, expected.relu(), rtol=_CLOSE, atol=_CLOSE) else "other"
