from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fastdfkd.core.channel_moments import channel_moments, normalised

from . import naive

settings.load_profile("core")

SHAPES = [(1, 3), (7, 3), (33, 2), (5, 2, 6)]
MAPS = [(1, 3, 4, 5), (16, 2, 3, 3), (17, 2, 3, 3), (50, 3, 2, 2)]
LAYOUTS = [(shape, False) for shape in SHAPES + MAPS] + [(shape, True) for shape in MAPS]


@pytest.mark.parametrize(("shape", "channels_last"), LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_moments_and_their_gradients(
    shape: tuple[int, ...], channels_last: bool, dtype: torch.dtype
) -> None:
    randomness = torch.Generator().manual_seed(0)
    exact = torch.randn(shape, generator=randomness, dtype=torch.float64) * 2 + 3
    x = exact.to(dtype)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    exact = x.detach().double().requires_grad_()
    x = x.detach().requires_grad_()
    weights = torch.randn(2, shape[1], generator=randomness, dtype=torch.float64)
    results = []
    for function, tensor in ((channel_moments, x), (naive.moments, exact)):
        mean, var = function(tensor)
        assert mean.dtype is var.dtype is tensor.dtype
        loss = (mean * weights[0].to(mean.dtype)).sum() + (var * weights[1].to(var.dtype)).sum()
        results.append([mean, var, *torch.autograd.grad(loss, tensor)])
    tolerance = 1e-12 if dtype is torch.float64 else 5e-6
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_normalised_is_torchs_batch_norm_bit_for_bit(dtype: torch.dtype) -> None:
    randomness = torch.Generator().manual_seed(4)
    x = torch.randn(6, 16, 4, 4, generator=randomness).to(dtype)
    exact = torch.float64 if dtype is torch.float64 else torch.float32
    mean, var, weight, bias = torch.rand(4, 16, generator=randomness, dtype=exact) + 0.5
    layer = nn.BatchNorm2d(16, eps=1e-3).eval().to(exact)
    layer.load_state_dict(
        {"running_mean": mean, "running_var": var, "weight": weight, "bias": bias}, strict=False
    )
    assert torch.equal(normalised(x, (mean, var), weight, bias, 1e-3), layer(x))


def test_an_eps_of_zero_is_taken_whatever_torchs_version_checks() -> None:
    x = torch.randn(7, 3, 2, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    mean, var = (torch.rand(3, dtype=torch.float64) + 0.5 for _ in range(2))
    expected = (x - mean.reshape(-1, 1, 1)) / var.sqrt().reshape(-1, 1, 1)
    torch.testing.assert_close(normalised(x, (mean, var), None, None, 0.0), expected)


@pytest.mark.parametrize("shape", [(5, 3), (3, 2, 3, 2), (1, 2, 2, 3), (18, 2, 2, 1)], ids=str)
def test_moments_gradcheck(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(channel_moments, (x.requires_grad_(),))


@given(
    count=st.integers(1, 40),
    channels=st.integers(1, 4),
    space=st.lists(st.integers(1, 4), max_size=3),
    offset=st.floats(-50, 50),
    seed=st.integers(0, 1000),
)
def test_moments_of_any_shape(
    count: int, channels: int, space: list[int], offset: float, seed: int
) -> None:
    x = np.random.default_rng(seed).normal(offset, 1.0, (count, channels, *space))
    mean, var = channel_moments(torch.tensor(x))
    axes = (0, *range(2, x.ndim))
    np.testing.assert_allclose(mean.numpy(), x.mean(axes), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(var.numpy(), x.var(axes), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("shape", [(64, 4, 32, 32), (37, 4, 40, 41)], ids=str)
def test_float32_moments_of_large_maps(shape: tuple[int, ...], channels_last: bool) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2)) + 1
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    for ours, expected in zip(channel_moments(x), naive.moments(x.double()), strict=True):
        torch.testing.assert_close(ours.double(), expected, rtol=2e-6, atol=0)


@pytest.mark.parametrize("offset", [0.5, 8.0])
def test_bfloat16_inputs_have_float32_moments(offset: float) -> None:
    """The statistics are float32: the only rounding error is that of the bf16 input."""
    x = (torch.randn(48, 3, 8, 8, generator=torch.Generator().manual_seed(3)) + offset).bfloat16()
    for ours, expected in zip(channel_moments(x), naive.moments(x.double()), strict=True):
        assert ours.dtype is torch.float32
        torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "channels_last"])
def test_moments_on_cuda(dtype: torch.dtype, channels_last: bool) -> None:
    randomness = torch.Generator().manual_seed(5)
    x = (torch.randn(37, 4, 16, 16, generator=randomness) + 1).to(dtype)
    exact = x.double().requires_grad_()
    cuda = x.to("cuda")
    if channels_last:
        cuda = cuda.contiguous(memory_format=torch.channels_last)
    cuda.requires_grad_()
    results = []
    for function, tensor in ((channel_moments, cuda), (naive.moments, exact)):
        mean, var = function(tensor)
        results.append([mean, var, *torch.autograd.grad(mean.sum() + var.sum(), tensor)])
    for i, (ours, expected) in enumerate(zip(*results, strict=True)):
        tolerance = 2e-2 if i == 2 and dtype is torch.bfloat16 else 5e-6
        torch.testing.assert_close(ours.double().cpu(), expected, rtol=tolerance, atol=tolerance)
