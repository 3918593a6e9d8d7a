"""The DeepLab networks have the published form: torchvision's layers, at output stride 8."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2
from torchvision.models.segmentation import deeplabv3_resnet50 as of_torchvision

from fastdfkd.core.network_trial import find_network_use
from fastdfkd.models import build_network
from fastdfkd.models.deeplab import deeplabv3_mobilenetv2, deeplabv3_resnet50

BUILDERS = (deeplabv3_resnet50, deeplabv3_mobilenetv2)


def spatial_layers(network: nn.Module) -> list[nn.Conv2d]:
    return [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    ]


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_logits_have_the_size_of_the_image(
    build: Callable[[int, int], nn.Module], channels: int
) -> None:
    network = build(13, channels).eval()
    with torch.no_grad():
        logits = network(torch.rand(1, channels, 24, 40))["out"]
    assert logits.shape == (1, 13, 24, 40)
    assert logits.isfinite().all()


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize(("height", "width"), [(128, 128), (256, 341)])
def test_the_features_have_output_stride_8(
    build: Callable[[int], nn.Module], height: int, width: int
) -> None:
    with torch.device("meta"):
        network = build(13).eval()
        features = network.backbone(torch.rand(1, 3, height, width))["out"]
        logits = network(torch.rand(1, 3, height, width))["out"]
    assert features.shape[2:] == (-(-height // 8), -(-width // 8))
    assert logits.shape == (1, 13, height, width)


def test_the_teacher_is_torchvisions_network() -> None:
    with torch.device("meta"):
        ours = deeplabv3_resnet50(13)
        theirs = of_torchvision(weights=None, weights_backbone=None, num_classes=13, aux_loss=False)
    assert {key: value.shape for key, value in ours.state_dict().items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }
    assert [layer.dilation for layer in spatial_layers(ours.classifier)][:3] == [
        (12, 12),
        (24, 24),
        (36, 36),
    ]


def test_the_student_has_the_published_backbone() -> None:
    """Weights of torchvision's classifier fit; the last two strides became dilations."""
    network = deeplabv3_mobilenetv2(13)
    prefix = "features."
    weights = {
        key.removeprefix(prefix): value
        for key, value in mobilenet_v2(weights=None).state_dict().items()
        if key.startswith(prefix) and not key.startswith(f"{prefix}18.")
    }
    assert network.backbone.load_state_dict(weights)
    layers = spatial_layers(network.backbone)
    assert [layer.stride[0] for layer in layers] == [2, 1, 2, 1, 2] + [1] * 13
    # 64 channels: 4 blocks, 96: 3 and 160: 3 beyond one replaced stride, 320: beyond both
    assert [layer.dilation[0] for layer in layers] == [1] * 11 + [2] * 6 + [4]
    assert all(layer.padding == layer.dilation for layer in layers)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5]
    assert network.classifier[0].convs[0][0].in_channels == 320


def test_dilation_keeps_what_the_strides_skip() -> None:
    """Every eighth feature of the dilated network is a feature of the strided one.

    A stride of 2 that becomes a dilation of 2 in all later layers computes the same values at the
    places that the stride keeps. The published form dilates a stage only by the strides replaced
    before it, which is the same thing.
    """
    torch.manual_seed(0)
    plain = mobilenet_v2(weights=None).features[:-1].eval()
    dilated = deeplabv3_mobilenetv2(13).eval().backbone
    dilated.load_state_dict(plain.state_dict())
    images = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        strided = plain(images)
        found = dilated(images)["out"][:, :, ::4, ::4]
    assert torch.allclose(found, strided, atol=1e-5)


@pytest.mark.parametrize(
    "build", [pytest.param(deeplabv3_resnet50, marks=pytest.mark.slow), deeplabv3_mobilenetv2]
)
def test_no_change_for_speed_is_refused(build: Callable[[int], nn.Module]) -> None:
    torch.manual_seed(0)
    use = find_network_use(build(5), (3, 16, 16), output="logits", spatial_axes=2)
    assert use.left_out == {}


@pytest.mark.parametrize("name", ["deeplabv3-resnet50", "deeplabv3-mobilenetv2"])
def test_a_recipe_may_name_them(name: str) -> None:
    with torch.device("meta"):
        assert build_network(name, 7, 3).classifier[4].out_channels == 7
