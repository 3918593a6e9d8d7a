"""Networks of libraries, a small one of each family, for square RGB images of 10 classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Family:
    model: str
    bn: float = 0.0
    """Weight of the statistics as teacher; 0 for families without BatchNorm."""
    arguments: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    """Of transformers."""
    side: int = 64
    """Height and width of the images."""


def _torchvision(name: str, bn: float = 1.0, **arguments: Any) -> Family:
    return Family(model=f"torchvision:{name}", bn=bn, arguments=arguments)


def _timm(name: str, bn: float = 1.0, **arguments: Any) -> Family:
    return Family(model=f"timm:{name}", bn=bn, arguments=arguments)


def _hugging_face(kind: str, bn: float = 0.0, **config: Any) -> Family:
    return Family(model=f"hf:{kind}", bn=bn, config={"model_type": kind, **config})


FAMILIES = [
    _torchvision("alexnet", 0.0),
    _torchvision("convnext_tiny", 0.0),
    _torchvision("densenet121"),
    _torchvision("efficientnet_b0"),
    _torchvision("googlenet", init_weights=False),
    Family(
        model="torchvision:inception_v3",
        bn=1.0,
        arguments={"init_weights": False, "aux_logits": False},
        side=80,  # it reads no smaller images
    ),
    Family(
        model="torchvision.models:MaxVit",  # maxvit_t reads no images of less than 224 pixels
        bn=1.0,
        arguments={
            "input_size": [64, 64],
            "stem_channels": 8,
            "partition_size": 2,
            "block_channels": [8, 16, 16, 16],
            "block_layers": [1, 1, 1, 1],
            "head_dim": 8,
            "stochastic_depth_prob": 0.1,
        },
    ),
    _torchvision("mnasnet0_5"),
    _torchvision("mobilenet_v2"),
    _torchvision("mobilenet_v3_small"),
    _torchvision("regnet_x_400mf"),
    _torchvision("resnet18"),
    _torchvision("resnext50_32x4d"),
    _torchvision("shufflenet_v2_x0_5"),
    _torchvision("squeezenet1_1", 0.0),
    Family(
        model="torchvision.models:SwinTransformer",
        arguments={
            "patch_size": [4, 4],
            "embed_dim": 16,
            "depths": [2, 2],
            "num_heads": [2, 4],
            "window_size": [4, 4],
        },
    ),
    _torchvision("vgg11_bn"),
    Family(
        model="torchvision.models:VisionTransformer",
        arguments={
            "image_size": 64,
            "patch_size": 16,
            "num_layers": 2,
            "num_heads": 2,
            "hidden_dim": 32,
            "mlp_dim": 32,
        },
    ),
    _timm("resnet10t"),
    _timm("resnetv2_50"),
    _timm("vit_tiny_patch16_224", 0.0),
    _timm("convnext_atto", 0.0),
    _timm("mobilenetv3_small_050"),
    _timm("efficientnet_lite0"),
    _timm("regnetx_002"),
    _timm("swin_tiny_patch4_window7_224", 0.0, window_size=2),
    _timm("mixer_s32_224", 0.0),
    _timm("levit_128s"),
    _timm("mobilevit_xxs"),
    _timm("ghostnet_050"),
    _timm("repvgg_a0"),
    _timm("xcit_nano_12_p16_224"),
    _timm("poolformer_s12", 0.0),
    _timm("efficientvit_b0"),
    _timm("coat_tiny", 0.0),
    _timm("nf_regnet_b0", 0.0),
    _hugging_face(
        "resnet", 1.0, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    ),
    _hugging_face(
        "vit",
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        patch_size=16,
    ),
    _hugging_face(
        "deit",
        architectures=["DeiTForImageClassification"],
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        patch_size=16,
    ),
    _hugging_face(
        "beit",
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        patch_size=16,
    ),
    _hugging_face("convnext", hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1]),
    _hugging_face("swin", embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=2),
    _hugging_face("mobilenet_v2", 1.0, depth_multiplier=0.35),
    _hugging_face(
        "efficientnet", 1.0, width_coefficient=0.25, depth_coefficient=0.25, hidden_dim=320
    ),
    _hugging_face(
        "regnet", 1.0, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], groups_width=8
    ),
    _hugging_face("mobilevit", 1.0),
    _hugging_face(
        "dinov2", hidden_size=16, num_attention_heads=2, num_hidden_layers=2, patch_size=16
    ),
    _hugging_face("poolformer", hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1]),
]
