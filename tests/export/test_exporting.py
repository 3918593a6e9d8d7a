from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

import fastdfkd
from fastdfkd.cli import commands as cli
from fastdfkd.export.finished_student import FinishedStudent
from fastdfkd.export.table import FORMATS
from fastdfkd.export.torchscript import TorchScript
from fastdfkd.models import CLASSIFIERS
from fastdfkd.recipe import Recipe
from fastdfkd.runs.result import RunResult
from tests.export.finished_runs import bank_images, without_data, write_run
from tests.models.builders import write_network

SHAPE = (3, 16, 16)
Result = Callable[..., RunResult]


def expected_logits(run: Path, images: Tensor) -> Tensor:
    """Logits of the student, computed here from its weights."""
    network = CLASSIFIERS["resnet8-half"](5, 3).eval()
    with safe_open(run / "student.safetensors", "pt") as file:
        network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    mean = torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None]
    std = torch.tensor([0.2023, 0.1994, 0.2010])[:, None, None]
    with torch.no_grad():
        found: Tensor = network((images.float() / 255 - mean) / std)
    return found


def test_weights_carry_classes_input_and_origin(run: Path) -> None:
    report = fastdfkd.export_student(run, "safetensors", licence="CC-BY-4.0")
    assert report.path == run / "export" / "student.safetensors"
    assert report.compared_on == "images of the bank"
    assert (report.conformity.images, report.conformity.top1_agreement) == (24, 1.0)
    with safe_open(report.path, "pt") as file:
        said = file.metadata()
    assert json.loads(said["fastdfkd:class_names"]) == ["0", "1", "2", "3", "4"]
    read = json.loads(said["fastdfkd:input"])
    assert (read["shape"], read["mean"]) == ([None, 3, 16, 16], [0.4914, 0.4822, 0.4465])
    teacher, origin = (json.loads(said[f"fastdfkd:{key}"]) for key in ("teacher", "run"))
    assert teacher["licence"] == "CC-BY-4.0"
    assert len(teacher["digest"]) == 64
    assert origin["figures"] == {"accuracy": 0.97, "agreement": 0.968}


@pytest.mark.parametrize("pixels", ["uint8", "unit", "normalised"])
def test_torchscript_answers_as_the_student_for_each_input(run: Path, pixels: str) -> None:
    report = fastdfkd.export_student(run, "torchscript", pixels=pixels, out=run.parent / "s.pt")
    extra = {"metadata.json": ""}
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of torch.jit
        program = torch.jit.load(str(report.path), _extra_files=extra)
    assert json.loads(extra["metadata.json"])["student"]["model"] == "resnet8-half"
    images = bank_images(3, SHAPE)
    given: Tensor = images
    if pixels != "uint8":
        given = images.float() / 255
    if pixels == "normalised":
        mean = torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None]
        given = (given - mean) / torch.tensor([0.2023, 0.1994, 0.2010])[:, None, None]
    torch.testing.assert_close(program(given), expected_logits(run, images), atol=1e-5, rtol=1e-5)


def test_pt2_and_onnx_answer_as_the_student(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert cli.run(["export", str(run), "--to", "onnx", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["path"] == str(run / "export" / "student.onnx")
    assert said["largest_difference"] < 1e-4 < said["largest_logit"]
    assert said["top1_agreement"] == 1.0
    session = onnxruntime.InferenceSession(run / "export" / "student.onnx")
    assert session.get_inputs()[0].shape == ["batch", 3, 16, 16]
    assert session.get_outputs()[0].shape == ["batch", 5]
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["fastdfkd:class_names"]) == ["0", "1", "2", "3", "4"]
    report = fastdfkd.export_student(run, "pt2")
    program = torch.export.load(report.path).module()
    for count in (1, 7):
        images = bank_images(count, SHAPE)
        expected = expected_logits(run, images)
        (found,) = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-5)
        torch.testing.assert_close(program(images), expected, atol=1e-5, rtol=1e-5)


def test_other_networks_get_weights_and_a_card(run: Path) -> None:
    report = fastdfkd.export_student(run, "hf", licence="mit")
    names = {each.name for each in report.path.iterdir()}
    assert names == {"model.safetensors", "README.md", "metadata.json"}
    card = (report.path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: pytorch\npipeline_tag: image-classification\n")
    assert 'license: "mit"' in card
    assert "| accuracy | 97.0% |" in card
    assert "16 x 16 pixels" in card


def test_a_program_that_differs_is_refused_and_leaves_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(run.iterdir())
    whole = TorchScript.run

    def shifted(self: TorchScript, content: Any, path: Path) -> Callable[[Tensor], Tensor]:
        program = whole(self, content, path)
        return lambda images: program(images) + 0.1

    monkeypatch.setattr(TorchScript, "run", shifted)
    assert cli.run(["export", str(run), "--to", "torchscript"]) == 2
    said = capsys.readouterr().err
    assert "differs from the network by 0.1 on 24 images of the bank" in said
    assert "nothing was written" in said
    assert sorted(run.iterdir()) == before
    assert cli.run(["export", str(run), "--to", "torchscript", "--tolerance", "0.2"]) == 0


def test_a_traced_program_that_depends_on_the_images_is_refused(
    workplace: Path, make_result: Result
) -> None:
    text = """
import torch
from torch import nn


class Student(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Conv2d(3, classes, 3)

    def forward(self, x):
        found = self.head(x).mean((2, 3))
        return 3 * found if x.mean() > -0.5 else found


def build(num_classes):
    return Student(num_classes)
"""
    write_network(workplace, text)
    recipe = without_data("own", "nets/small.py:build", SHAPE)
    run = write_run(workplace / "run", recipe, make_result, bank=bank_images(8, SHAPE) // 8)
    with pytest.raises(ValueError, match="differs from the network"):
        fastdfkd.export_student(run, "torchscript")
    assert not (run / "export").exists()


def test_an_earlier_export_is_replaced_only_on_demand(run: Path) -> None:
    fastdfkd.export_student(run, "safetensors")
    with pytest.raises(ValueError, match="exists: name another file with --out"):
        fastdfkd.export_student(run, "safetensors")
    fastdfkd.export_student(run, "safetensors", overwrite=True)
    fastdfkd.export_student(run, "hf")
    fastdfkd.export_student(run, "hf", overwrite=True)
    assert sorted(each.name for each in (run / "export").iterdir()) == ["hf", "student.safetensors"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "onxx"], "--to: unknown, did you mean onnx?"),
        (["--to", "safetensors", "--input", "uint8"], "--input uint8: safetensors holds weights"),
        (["--to", "pt2", "--input", "bytes"], "--input: unknown"),
        (["--to", "pt2", "--int8"], "--int8 is for --to onnx, got --to pt2"),
        (["--to", "onnx", "--int8", "--tolerance", "1"], "--tolerance is for float32 programs"),
    ],
)
def test_what_cannot_be_exported_is_said_first(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["export", str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_a_student_is_refused(run: Path) -> None:
    (run / "student.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="holds no student"):
        fastdfkd.export_student(run, "pt2")
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        fastdfkd.export_student(run.parent, "pt2")


def test_a_missing_extra_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"onnx needs the package onnxscript.*fastdfkd\[export\]"):
        fastdfkd.export_student(run, "onnx")


@pytest.mark.slow
def test_real_images_are_compared_first(
    workplace: Path, tiny_recipe: Callable[..., Recipe], make_result: Result
) -> None:
    run = write_run(workplace / "run", tiny_recipe(), make_result)
    report = fastdfkd.export_student(run, "pt2", images=50)
    assert (report.compared_on, report.conformity.images) == ("held-out real images", 50)
    assert report.conformity.figures == report.conformity.exported_figures
    assert "accuracy" in report.summary()


@pytest.mark.slow
def test_transformers_pipeline_loads_a_student_that_it_knows(
    workplace: Path, make_result: Result
) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5
    )
    config.save_pretrained(workplace / "design")
    recipe = without_data("known", f"hf:{workplace / 'design'}", (3, 32, 32))
    names = ["ant", "bee", "cat", "dog", "eel"]
    section = {"shape": (3, 32, 32), "classes": names, "normalisation": "half"}
    recipe = Recipe.model_validate({**recipe.model_dump(), "input": section})
    run = write_run(workplace / "run", recipe, make_result, bank=bank_images(6, (3, 32, 32)))
    report = fastdfkd.export_student(run, "hf")
    classify = transformers.pipeline("image-classification", model=str(report.path))
    images = bank_images(6, (3, 32, 32))
    pictures = [Image.fromarray(each.permute(1, 2, 0).numpy()) for each in images]
    student = FinishedStudent.of(run)
    with torch.no_grad():
        logits = student.network((images.float() / 255 - 0.5) / 0.5).logits
    expected = logits.softmax(1)
    for found, shares in zip(classify(pictures, top_k=5), expected, strict=True):
        scores = {each["label"]: each["score"] for each in found}
        assert scores == pytest.approx(dict(zip(names, shares.tolist(), strict=True)), abs=1e-4)
    card = (report.path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")


NETWORKS = [*CLASSIFIERS, "torchvision:mobilenet_v3_small", "nets/small.py:build"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", list(FORMATS))
def test_every_network_in_every_format(
    name: str, network: str, workplace: Path, make_result: Result
) -> None:
    write_network(workplace)
    recipe = without_data("every", network, (3, 32, 32))
    run = write_run(workplace / "run", recipe, make_result, bank=bank_images(12, (3, 32, 32)))
    report = fastdfkd.export_student(run, name)
    assert report.conformity.within(1e-4)
    assert report.conformity.top1_agreement == 1.0
    assert report.size_bytes > 1000
