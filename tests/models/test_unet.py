"""The small encoder-decoder for maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.network_trial import find_network_use
from fastdfkd.models import SEGMENTERS, build_network
from fastdfkd.models.unet import ConvBlock

WIDTHS = {"unet": (16, 32, 64), "unet-half": (8, 16, 32)}


def formula(widths: tuple[int, int, int], classes: int, channels: int) -> int:
    """Parameters, layer by layer."""
    first, second, third = widths

    def block(before: int, width: int) -> int:
        return 9 * before * width + 9 * width * width + 4 * width

    down = block(channels, first) + block(first, second) + block(second, third)
    up = block(third + second, second) + block(second + first, first)
    return down + up + first * classes + classes


@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.parametrize(("classes", "channels"), [(8, 3), (13, 1)])
def test_parameter_counts(name: str, classes: int, channels: int) -> None:
    network = build_network(name, classes, channels)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters == formula(WIDTHS[name], classes, channels)


@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.parametrize("size", [(32, 32), (17, 30), (9, 8), (5, 7)])
def test_maps_have_the_images_size_and_every_norm_runs_once(
    name: str, size: tuple[int, int]
) -> None:
    network = build_network(name, 5)
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    calls: list[nn.Module] = []
    for layer in layers:
        layer.register_forward_hook(lambda module, *_: calls.append(module))
    logits = network(torch.randn(2, 3, *size))
    assert logits.shape == (2, 5, *size)
    assert len(calls) == len(layers) == len(set(calls)) == 10
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_program_may_do_everything_to_it_for_speed() -> None:
    network = build_network("unet-half", 5).eval()
    use = find_network_use(network, (3, 16, 16), spatial_axes=2, precision="bfloat16")
    assert use.line("the network") == ""


def test_pixels_far_apart_influence_each_other_only_through_the_lower_levels() -> None:
    network = build_network("unet-half", 5).eval()
    images = torch.randn(1, 3, 32, 32, requires_grad=True)
    (reached,) = torch.autograd.grad(network(images)[0, 0, 16, 16], images)
    assert reached[0, :, 16, 6].abs().sum() > 0
    only_upper: Tensor = network.get_submodule("down.0")(images)[0, 0, 16, 16]
    (near,) = torch.autograd.grad(only_upper, images)
    assert near[0, :, 16, 6].abs().sum() == 0


def test_a_block_of_stride_2_rounds_up() -> None:
    assert ConvBlock(3, 4, 2)(torch.zeros(2, 3, 7, 10)).shape == (2, 4, 4, 5)


def test_the_table_has_both() -> None:
    assert set(WIDTHS) <= set(SEGMENTERS)
