"""The tables of networks that a recipe may name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from fastdfkd.models.deeplab import deeplabv3_mobilenetv2, deeplabv3_resnet50
from fastdfkd.models.initialisation import initialise
from fastdfkd.models.resnet import Norm, ResidualNetwork, ResidualStages, group_norm
from fastdfkd.models.unet import UNet
from fastdfkd.models.vgg import VGG, VGG11_GROUPS
from fastdfkd.models.vision_transformer import VisionTransformer
from fastdfkd.models.wide_resnet import WideResNet
from fastdfkd.text.shown import shown

Builder = Callable[[int, int], nn.Module]
"""Takes num_classes and in_channels, returns a newly initialised network."""


def _wide(depth: int, width: int) -> Builder:
    return lambda num_classes, in_channels: WideResNet(depth, width, num_classes, in_channels)


def _unet(*widths: int) -> Builder:
    return lambda num_classes, in_channels: UNet(widths, num_classes, in_channels)


def _residual(blocks: Sequence[int], widths: Sequence[int], norm: Norm = nn.BatchNorm2d) -> Builder:
    return lambda num_classes, in_channels: ResidualNetwork(
        blocks, widths, num_classes, in_channels, norm
    )


def _hybrid(depth: int) -> Builder:
    """Two residual stages with GroupNorm of `depth` blocks each, and as many encoders.

    The maps of the stages are the patches of the encoders.
    """

    def build(num_classes: int, in_channels: int) -> VisionTransformer:
        stages = ResidualStages((depth, depth), (16, 32), in_channels, group_norm)
        initialise(stages)
        stem = nn.Sequential(stages, nn.Conv2d(32, 64, 2, 2))
        return VisionTransformer(depth, 64, 4, num_classes, in_channels, stem)

    return build


CLASSIFIERS: dict[str, Builder] = {
    "wrn-40-2": _wide(40, 2),
    "wrn-40-1": _wide(40, 1),
    "wrn-16-2": _wide(16, 2),
    "wrn-16-1": _wide(16, 1),
    "resnet34": _residual((3, 4, 6, 3), (64, 128, 256, 512)),
    "resnet18": _residual((2, 2, 2, 2), (64, 128, 256, 512)),
    "vgg11": lambda num_classes, in_channels: VGG(VGG11_GROUPS, num_classes, in_channels),
    "resnet20": _residual((3, 3, 3), (16, 32, 64)),
    "resnet14": _residual((2, 2, 2), (16, 32, 64)),
    "resnet14-half": _residual((2, 2, 2), (8, 16, 32)),
    "resnet8": _residual((1, 1, 1), (16, 32, 64)),
    "resnet8-half": _residual((1, 1, 1), (8, 16, 32)),
    "resnet14-gn": _residual((2, 2, 2), (16, 32, 64), group_norm),
    "resnet8-gn": _residual((1, 1, 1), (16, 32, 64), group_norm),
    "vit-tiny": lambda num_classes, in_channels: VisionTransformer(
        4, 64, 4, num_classes, in_channels
    ),
    "vit-hybrid": _hybrid(2),
    "vit-hybrid-half": _hybrid(1),
}
"""All take images with sides of 8 pixels or more and return logits (B, num_classes)."""

SEGMENTERS: dict[str, Builder] = {
    "unet": _unet(16, 32, 64),
    "unet-half": _unet(8, 16, 32),
}
"""All take images of any size and return logits (B, num_classes, H, W)."""

DEEPLABS: dict[str, Builder] = {
    "deeplabv3-resnet50": deeplabv3_resnet50,
    "deeplabv3-mobilenetv2": deeplabv3_mobilenetv2,
}
"""All take images of any size and return `{"out": logits (B, num_classes, H, W)}`."""

NETWORKS: dict[str, Builder] = {**CLASSIFIERS, **SEGMENTERS, **DEEPLABS}
"""All of them."""


def build_network(name: str, num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build a network of the tables. Its weights are drawn from torch's global random state.

    Raises:
        RecipeError: `name` is in none of them. The message lists the names.
    """
    if name not in NETWORKS:
        from fastdfkd.recipe.messages import RecipeError, unknown  # needs more than torch

        raise RecipeError(
            f"{unknown(f'model {shown(name)}', name, list(NETWORKS))}, "
            "or package.module:builder, file.py:builder, torchvision:NAME, timm:NAME, hf:FOLDER, "
            "torchscript:FILE or pt2:FILE for a network of your own"
        )
    return NETWORKS[name](num_classes, in_channels)
