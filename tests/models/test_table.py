"""Parameter counts are worked out here by hand, layer by layer, not taken from the code."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from fastdfkd import models
from fastdfkd.models import CLASSIFIERS, build_network
from fastdfkd.models.resnet import ResidualNetwork
from fastdfkd.models.vgg import VGG
from fastdfkd.models.wide_resnet import PreActivationBlock, WideResNet
from fastdfkd.recipe import RecipeError


def conv(side, into, out):
    return side * side * into * out


def wide_resnet_parameters(depth, width, classes, channels):
    total = conv(3, channels, 16)
    before = 16
    for out in (16 * width, 32 * width, 64 * width):
        for _ in range((depth - 4) // 6):
            total += 2 * before + conv(3, before, out) + 2 * out + conv(3, out, out)
            total += conv(1, before, out) if before != out else 0
            before = out
    return total + 2 * before + before * classes + classes


def residual_parameters(blocks, widths, classes, channels):
    total = conv(3, channels, widths[0]) + 2 * widths[0]
    before = widths[0]
    for count, out in zip(blocks, widths, strict=True):
        for _ in range(count):
            total += conv(3, before, out) + 2 * out + conv(3, out, out) + 2 * out
            total += conv(1, before, out) + 2 * out if before != out else 0
            before = out
    return total + before * classes + classes


def vgg11_parameters(classes, channels):
    widths = [channels, 64, 128, 256, 256, 512, 512, 512, 512]
    layers = pairwise(widths)
    return sum(conv(3, a, b) + b + 2 * b for a, b in layers) + 512 * classes + classes


def transformer_parameters(depth, width, classes, channels):
    patches = conv(4, channels, width) + width
    attention = width * 3 * width + 3 * width + width * width + width
    mlp = width * 2 * width + 2 * width + 2 * width * width + width
    encoder = 2 * width + attention + 2 * width + mlp
    return patches + depth * encoder + 2 * width + width * classes + classes


def hybrid_parameters(depth, classes, channels):
    stages = residual_parameters((depth, depth), (16, 32), 0, channels)
    of_pixels = transformer_parameters(depth, 64, classes, 0) - 64
    return stages + conv(2, 32, 64) + 64 + of_pixels


FORMULAS = {
    "wrn-40-2": lambda *shape: wide_resnet_parameters(40, 2, *shape),
    "wrn-40-1": lambda *shape: wide_resnet_parameters(40, 1, *shape),
    "wrn-16-2": lambda *shape: wide_resnet_parameters(16, 2, *shape),
    "wrn-16-1": lambda *shape: wide_resnet_parameters(16, 1, *shape),
    "resnet34": lambda *shape: residual_parameters((3, 4, 6, 3), (64, 128, 256, 512), *shape),
    "resnet18": lambda *shape: residual_parameters((2, 2, 2, 2), (64, 128, 256, 512), *shape),
    "vgg11": vgg11_parameters,
    "resnet20": lambda *shape: residual_parameters((3, 3, 3), (16, 32, 64), *shape),
    "resnet14": lambda *shape: residual_parameters((2, 2, 2), (16, 32, 64), *shape),
    "resnet14-half": lambda *shape: residual_parameters((2, 2, 2), (8, 16, 32), *shape),
    "resnet8": lambda *shape: residual_parameters((1, 1, 1), (16, 32, 64), *shape),
    "resnet8-half": lambda *shape: residual_parameters((1, 1, 1), (8, 16, 32), *shape),
    "resnet14-gn": lambda *shape: residual_parameters((2, 2, 2), (16, 32, 64), *shape),
    "resnet8-gn": lambda *shape: residual_parameters((1, 1, 1), (16, 32, 64), *shape),
    "vit-hybrid": lambda *shape: hybrid_parameters(2, *shape),
    "vit-hybrid-half": lambda *shape: hybrid_parameters(1, *shape),
    "vit-tiny": lambda *shape: transformer_parameters(4, 64, *shape),
}

# As published: WRN arXiv 1605.07146 Table 4 and CIFAR ResNets in common use (10 classes, RGB).
PUBLISHED_MILLIONS = {
    "wrn-40-2": 2.2,
    "wrn-40-1": 0.6,
    "wrn-16-2": 0.7,
    "wrn-16-1": 0.2,
    "resnet34": 21.3,
    "resnet18": 11.2,
    "vgg11": 9.2,
}

# Worked out once with a pocket calculator (10 classes, RGB).
EXACT = {
    "wrn-40-2": 2_243_546,
    "wrn-16-1": 175_066,
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "vgg11": 9_231_114,
    "resnet14": 175_258,
    "resnet14-half": 44_370,
    "resnet8": 78_042,
}


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_every_network_has_a_formula():
    assert set(FORMULAS) == set(CLASSIFIERS)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(("classes", "channels"), [(10, 3), (100, 3), (10, 1)])
def test_parameter_counts(name, classes, channels):
    with torch.device("meta"):
        network = build_network(name, classes, channels)
    assert parameters(network) == FORMULAS[name](classes, channels)


@pytest.mark.parametrize("name", EXACT)
def test_exact_counts(name):
    assert FORMULAS[name](10, 3) == EXACT[name]


@pytest.mark.parametrize("name", PUBLISHED_MILLIONS)
def test_published_counts(name):
    assert round(FORMULAS[name](10, 3) / 1e6, 1) == PUBLISHED_MILLIONS[name]


def test_smallest_student():
    assert FORMULAS["resnet8-half"](10, 1) == 19_810


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(("channels", "side"), [(1, 16), (3, 32)])
def test_logits_and_every_batch_norm_once(name, channels, side):
    network = build_network(name, 7, channels)
    layers = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    calls = []
    for layer in layers:
        layer.register_forward_hook(lambda module, *_: calls.append(module))
    logits = network(torch.randn(2, channels, side, side))
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()
    assert len(calls) == len(layers) == len(set(calls))
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_the_input_is_not_altered():
    images = torch.randn(2, 3, 16, 16)
    before = images.clone()
    for name in ("wrn-16-1", "resnet8", "vgg11"):
        build_network(name, 4).eval()(images)
    torch.testing.assert_close(images, before, rtol=0, atol=0)


def test_initialisation_follows_the_global_seed():
    def weights(seed):
        torch.manual_seed(seed)
        return build_network("resnet8", 10).state_dict()["conv1.weight"]

    with torch.random.fork_rng():
        assert torch.equal(weights(1), weights(1))
        assert not torch.equal(weights(1), weights(2))


def test_he_initialisation():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network("wrn-16-2", 10)
    block = network.get_submodule("block3.layer.1")
    expected = (2 / (9 * 128)) ** 0.5
    assert block.conv1.weight.std().item() == pytest.approx(expected, rel=0.02)
    assert torch.count_nonzero(network.fc.bias) == 0


def test_widening_block_activates_before_its_shortcut():
    """With both convolutions of the branch at zero, the block is conv1x1(relu(bn(x)))."""
    block = PreActivationBlock(4, 8, stride=2).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(3, 4, 8, 8)
    expected = block.convShortcut(torch.relu(x / (1 + block.bn1.eps) ** 0.5))
    torch.testing.assert_close(block(x), expected)


def test_plain_block_keeps_its_input():
    block = PreActivationBlock(4, 4, stride=1).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(3, 4, 8, 8)
    torch.testing.assert_close(block(x), x)


def test_vgg_pools_three_times_below_64_pixels():
    network = build_network("vgg11", 10).eval()
    sides = []
    network.block4.register_forward_hook(lambda _, inputs, out: sides.append(out.shape[-1]))
    network(torch.randn(1, 3, 32, 32))
    network(torch.randn(1, 3, 64, 64))
    assert sides == [4, 4]


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(RecipeError, match=r"did you mean wrn-40-2\?; allowed: deeplabv3") as info:
        build_network("wrn40-2", 10)
    assert all(name in str(info.value) for name in CLASSIFIERS)


@pytest.mark.parametrize(
    "build",
    [
        lambda: WideResNet(15, 1, 10),
        lambda: ResidualNetwork((1, 1), (8, 16, 32), 10),
        lambda: VGG(((64,), (128,)), 10),
    ],
)
def test_impossible_shapes_are_refused(build):
    with pytest.raises(ValueError, match=r"expected|for every stage"):
        build()


def test_no_public_name_is_a_modules():
    """A module of that name would take the place of what `__getattr__` returns."""
    modules = {file.stem for file in Path(models.__file__).parent.glob("*.py")}
    assert not modules & set(models.__all__)
