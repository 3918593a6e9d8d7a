from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.task_kind import Segmentation, TaskKind
from fastdfkd.export.deployed import PIXELS, DeployedNetwork, Pixels, dynamic_axes, feed_of
from fastdfkd.export.onnx_file import answer_of, onnx_session, write_onnx
from fastdfkd.export.torch_export import exported_program

MOMENTS: dict[str, Any] = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}
SPEC = ImageSpec(name="x", shape=(3, 8, 8), num_classes=4, **MOMENTS)


class SegmentingSpec(ImageSpec):
    @property
    def kind(self) -> TaskKind:
        return Segmentation(self.num_classes)


class Answer(nn.Module):
    """Returns its logits in a mapping, one for each pixel, at half of the size scaled up."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.up = nn.Conv2d(6, 4, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        found = nn.functional.interpolate(
            self.up(self.down(images).relu()), size=images.shape[2:], mode="bilinear"
        )
        return {"out": found}


@pytest.mark.parametrize("pixels", PIXELS)
def test_every_input_gives_the_same_logits(pixels: Pixels) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    images = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    mean, std = (torch.tensor(MOMENTS[key])[:, None, None] for key in ("mean", "std"))
    expected = network((images.float() / 255 - mean) / std)
    found = DeployedNetwork(network, SPEC, pixels)(feed_of(SPEC, pixels)(images))
    torch.testing.assert_close(found, expected)


def test_outputs_of_other_kinds_become_logits() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4), nn.Softmax(1))
    images = torch.rand(5, 3, 8, 8)
    found = DeployedNetwork(network, SPEC, "normalised", "probabilities")(images)
    torch.testing.assert_close(found.softmax(1), network(images))


def test_the_batch_is_dynamic_and_the_size_where_pixels_have_labels() -> None:
    assert dynamic_axes(SPEC) == {0: "batch"}
    spec = SegmentingSpec(name="x", shape=(3, 8, 8), num_classes=4, **MOMENTS)
    assert dynamic_axes(spec) == {0: "batch", 2: "height", 3: "width"}


@pytest.mark.slow
def test_a_network_that_answers_for_each_pixel_takes_any_size(tmp_path: Any) -> None:
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    spec = SegmentingSpec(name="x", shape=(3, 8, 8), num_classes=4, **MOMENTS)
    network = DeployedNetwork(Answer(), spec, "uint8")
    program = exported_program(network, spec).module()
    write_onnx(network, spec, tmp_path / "x.onnx", {})
    session = onnx_session(tmp_path / "x.onnx")
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    for shape in ((1, 3, 8, 8), (3, 3, 12, 20)):
        images = torch.randint(256, shape, dtype=torch.uint8)
        expected = network(images)
        assert expected.shape == (shape[0], 4, *shape[2:])
        torch.testing.assert_close(program(images), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(answer_of(session)(images), expected, atol=1e-5, rtol=1e-5)
