"""ONNX programs in 8 bits: what they are calibrated on, and how they answer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import fastdfkd
from fastdfkd.export.finished_student import FinishedStudent
from fastdfkd.models import CLASSIFIERS
from tests.export.finished_runs import bank_images


def evaluated_agreement(run: Path) -> float:
    """Share of the bank's images to which student and teacher assign one class, computed here."""
    student = FinishedStudent.of(run)
    teacher = CLASSIFIERS["resnet8-half"](5, 3).eval()
    teacher.load_state_dict(load_file(run / "teacher.safetensors"))
    images = bank_images(24, (3, 20, 20))
    small = torch.nn.functional.interpolate(
        images.float(), (16, 16), mode="bilinear", antialias=True
    ).round()
    with torch.no_grad():
        first = teacher((images.float() / 255 - 0.5) / 0.5).argmax(1)
        second = student.network(student.spec.normalisation("cpu")(small / 255)).argmax(1)
    return (first == second).double().mean().item()


@pytest.mark.slow
def test_int8_is_calibrated_on_the_bank(run: Path) -> None:
    onnx = pytest.importorskip("onnx")
    report = fastdfkd.export_student(run, "onnx", int8=True)
    assert report.calibrated_on == "24 images of the bank"
    assert report.path.name == "student-int8.onnx"
    model = onnx.load(report.path)
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.INT8 in types
    facts = {each.key: each.value for each in model.metadata_props}
    assert json.loads(facts["fastdfkd:int8"]) == {"calibrated_on": "24 images of the bank"}
    assert 0.9 <= report.conformity.top1_agreement <= 1
    assert "accuracy against the teacher" in report.summary()
    agreement = evaluated_agreement(run)
    assert report.conformity.figures["accuracy"] == pytest.approx(agreement)
    assert abs(report.conformity.exported_figures["accuracy"] - agreement) <= 0.1
    whole = fastdfkd.export_student(run, "onnx")
    assert report.size_bytes < whole.size_bytes


@pytest.mark.slow
def test_int8_without_a_bank_is_calibrated_on_synthetic_images(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(run / "checkpoints")
    report = fastdfkd.export_student(run, "onnx", int8=True, images=16)
    assert report.calibrated_on == "256 held-out synthetic images"
    (run / "teacher.safetensors").unlink()
    with pytest.raises(ValueError, match="keeps no images of its bank"):
        fastdfkd.export_student(run, "onnx", int8=True, overwrite=True)
