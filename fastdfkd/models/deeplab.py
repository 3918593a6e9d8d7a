"""DeepLabV3 (arXiv 1706.05587) of torchvision's parts, at output stride 8.

Both networks have torchvision's head: ASPP with dilations 12, 24 and 36, then 3x3 and 1x1
convolutions, then bilinear interpolation to the size of the image. Weights are drawn from torch's
global random state; nothing is downloaded.
"""

from __future__ import annotations

from typing import Any

from torch import nn

OUTPUT_STRIDE = 8
"""Side of an image divided by the side of its features."""

_DROPOUT = 0.5


def deeplabv3_resnet50(num_classes: int, in_channels: int = 3) -> nn.Module:
    """DeepLabV3 with ResNet-50, the teacher of the NYUv2 tables: `torchvision`'s network.

    A state of torchvision's `deeplabv3_resnet50(aux_loss=False)` fits, and one of its `resnet50`
    after `backbone.` fits the backbone. Maps images (B, in_channels, H, W) to
    `{"out": logits (B, num_classes, H, W)}`. Training needs batches of two images or more.
    """
    from torchvision.models import segmentation

    from fastdfkd.models.libraries import read_channels

    network: nn.Module = segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=False
    )
    return read_channels(network, in_channels, "deeplabv3-resnet50")


def deeplabv3_mobilenetv2(num_classes: int, in_channels: int = 3) -> nn.Module:
    """DeepLabV3 with MobileNetV2 (arXiv 1801.04381), the student of the NYUv2 tables.

    The features are the 320 channels of the last inverted residual block; dropout in the head is
    0.5. Their layers are named `backbone.N`, as in torchvision's `mobilenet_v2().features.N`.
    Answers and batches are those of `deeplabv3_resnet50`.
    """
    from torchvision.models import mobilenet_v2
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

    from fastdfkd.models.libraries import read_channels

    blocks = mobilenet_v2(weights=None).features[:-1]
    _replace_strides(blocks)
    backbone = IntermediateLayerGetter(blocks, {str(len(blocks) - 1): "out"})
    head = DeepLabHead(blocks[-1].out_channels, num_classes)
    for module in head.modules():
        if isinstance(module, nn.Dropout):
            module.p = _DROPOUT
    return read_channels(DeepLabV3(backbone, head), in_channels, "deeplabv3-mobilenetv2")


def _replace_strides(blocks: nn.Sequential) -> None:
    """Replace the strides beyond `OUTPUT_STRIDE` by dilations, in place.

    Blocks with as many output channels are a stage. Its 3x3 convolutions are dilated by the product
    of the strides that were replaced in the stages before it.
    """
    stages: Any = blocks
    stride, dilation, replaced, channels = 1, 1, 1, 0
    for block in stages:
        if block.out_channels != channels:
            channels, dilation = block.out_channels, replaced
        for layer in block.modules():
            if not isinstance(layer, nn.Conv2d) or layer.kernel_size != (3, 3):
                continue
            if layer.stride == (2, 2) and stride == OUTPUT_STRIDE:
                layer.stride, replaced = (1, 1), replaced * 2
            stride *= layer.stride[0]
            layer.dilation = layer.padding = (dilation, dilation)
