"""A section `input` that is wrong: one message, exit code 2, nothing written.

`test_bad_images.py` has the image files, `tests/strangers/bad_sources.py` networks and weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastdfkd.cli import commands as cli
from fastdfkd.models import build_network, save_weights

TEN = [f"class {number}" for number in range(10)]


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One mistake. Its message has all of `says`."""

    says: tuple[str, ...]
    input: dict[str, Any] = field(default_factory=dict)
    """Changes to a valid section; None removes a key."""
    classes: str | bytes | None = None
    """Content of the file `classes.txt`, which `input.classes` then names."""
    data: str = "none"
    weights: bool = True
    student: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    synthesis: dict[str, Any] = field(default_factory=dict)


BAD: dict[str, Bad] = {
    "a file with a class too few": Bad(
        classes="\n".join(TEN[:9]),
        says=("do not fit resnet8-half (9 classes", "linear.weight is (10, 32), expected (9, 32)"),
    ),
    "a file with a class too many": Bad(
        classes="\n".join([*TEN, "one more"]),
        says=("do not fit resnet8-half (11 classes", "linear.weight is (10, 32), expected (11"),
    ),
    "a file with a wrong count for a data set": Bad(
        data="digits",
        input={"shape": None},
        classes="\n".join(TEN[:9]),
        says=("input.classes: 9 classes, but digits has 10", "leave input.classes out"),
    ),
    "a file with an empty line": Bad(
        classes="ant\n\nbee\n", says=("classes.txt", "line 2 is empty")
    ),
    "a file with one class": Bad(classes="ant\n", says=("at least 2 names of classes, got 1",)),
    "an empty file of classes": Bad(classes="", says=("at least 2 names of classes, got 0",)),
    "a file of classes that is no text": Bad(
        classes=b"\x89PNG\xff\xfe", says=("classes.txt", "expected UTF-8 text")
    ),
    "a damaged JSON file of classes": Bad(
        classes='["ant", ', says=("classes.txt", "begins like JSON, but")
    ),
    "a JSON file of classes with a gap": Bad(
        classes=json.dumps({"0": "ant", "2": "bee"}), says=("the numbers 0 to 1 as keys",)
    ),
    "no such file of classes": Bad(
        input={"classes": "absent.txt"}, says=("there is no file", "absent.txt")
    ),
    "one class": Bad(input={"classes": 1}, says=("at least 2 classes, got 1",)),
    "a name that is no text": Bad(
        input={"classes": ["yes", True]}, says=("input.classes", "write them in quotes")
    ),
    "no classes": Bad(
        input={"classes": None}, says=("input.classes: is required with data.name: none",)
    ),
    "no shape": Bad(
        input={"shape": None}, says=("input.shape: is required", "[channels, height, width]")
    ),
    "no normalisation": Bad(
        input={"normalisation": None},
        says=("input.normalisation: is required", "imagenet, cifar10", "input.mean and input.std"),
    ),
    "a normalisation misspelt": Bad(
        input={"normalisation": "imagnet"}, says=("expected one of", "did you mean imagenet?")
    ),
    "a mean without a deviation": Bad(
        input={"normalisation": None, "mean": [0.5]}, says=("std is missing", "given together")
    ),
    "two means for three channels": Bad(
        input={
            "shape": [3, 16, 16],
            "normalisation": None,
            "mean": [0.5, 0.5],
            "std": [0.2, 0.2],
        },
        says=("input.mean: expected 3 numbers, one for each channel", "got 2"),
    ),
    "two means and three deviations": Bad(
        input={"normalisation": None, "mean": [0.5] * 2, "std": [0.2] * 3},
        says=("got 2 means and 3 deviations",),
    ),
    "a deviation of zero": Bad(
        input={"normalisation": None, "mean": [0.5], "std": [0.0]},
        says=("input.std.0: expected a number above 0", "got 0"),
    ),
    "a deviation that is no number": Bad(
        input={"normalisation": None, "mean": [0.5], "std": [".nan"]}, says=("input.std.0",)
    ),
    "means of 0 to 255 for 0 to 1": Bad(
        input={"normalisation": None, "mean": [123.7], "std": [58.4]},
        says=("123.7", "pixel_range: 255"),
    ),
    "means of 0 to 1 for 0 to 255": Bad(
        input={"normalisation": None, "mean": [0.485], "std": [0.229], "pixel_range": 255},
        says=("look like numbers of pixels from 0", "pixel_range"),
    ),
    "both forms of a normalisation": Bad(
        input={"mean": [0.5], "std": [0.5]}, says=("keep one of them",)
    ),
    "channels last": Bad(
        input={"shape": [16, 16, 3]}, says=("input.shape", "did you mean [3, 16, 16]?")
    ),
    "four channels": Bad(
        input={"shape": [4, 16, 16]}, says=("1 channel (grey) or 3", "got [4, 16, 16]")
    ),
    "seven pixels": Bad(input={"shape": [1, 7, 16]}, says=("at least 8 pixels, got 7x16",)),
    "a shape of one number": Bad(input={"shape": 16}, says=("input.shape: expected a list",)),
    "more channels than the network": Bad(
        input={"shape": [3, 16, 16]}, says=("do not fit resnet8-half", "set model, data")
    ),
    "another shape than the data set": Bad(
        data="digits",
        input={"shape": [1, 28, 28]},
        says=("input.shape: [1, 28, 28]", "digits are [1, 16, 16]", "leave input.shape out"),
    ),
    "an unknown key": Bad(input={"size": 96}, says=("input.size: unknown key", "shape")),
    "an untrained teacher without data": Bad(
        weights=False,
        says=(
            "teacher.weights: unset",
            "data.name is none, which has no training images",
            "set teacher.weights",
        ),
    ),
    "a student for three channels": Bad(
        student={"mean": [0.5] * 3, "std": [0.2] * 3},
        says=("student.mean: expected 1 number, one for each channel", "got 3"),
    ),
    "a student's size of zero": Bad(student={"size": 0}, says=("student.size", "got 0")),
    "a negative number of synthetic images": Bad(
        evaluation={"synthetic_images": -1},
        says=("evaluation.synthetic_images: expected a number at least 0, got -1",),
    ),
    "no such file of class vectors": Bad(
        synthesis={"method": "nayer", "class_vectors": "absent.npy"},
        says=("synthesis.class_vectors: absent.npy: no such file", ".safetensors"),
    ),
    "a file that has no class vectors": Bad(
        synthesis={"method": "nayer", "class_vectors": "net.safetensors"},
        says=("synthesis.class_vectors: net.safetensors: expected one tensor, got",),
    ),
    "class vectors that nothing reads": Bad(
        synthesis={"class_vectors": "v.npy"}, says=("class_vectors has no effect", "set codes to")
    ),
}


def recipe_of(bad: Bad) -> dict[str, Any]:
    section = {"shape": [1, 16, 16], "classes": 10, "normalisation": "half", **bad.input}
    if bad.classes is not None:
        section["classes"] = "classes.txt"
    teacher = {"model": "resnet8-half", **({"weights": "net.safetensors"} if bad.weights else {})}
    return {
        "name": "bad",
        "data": {"name": bad.data},
        "input": {key: value for key, value in section.items() if value is not None},
        "teacher": teacher,
        "student": {"model": "resnet8-half", **bad.student},
        "evaluation": bad.evaluation,
        "synthesis": bad.synthesis,
    }


@pytest.mark.parametrize("name", BAD)
def test_one_message_says_what_to_do(
    workplace: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    bad = BAD[name]
    save_weights(workplace / "net.safetensors", build_network("resnet8-half", 10, 1))
    (workplace / "bad.yaml").write_text(yaml.safe_dump(recipe_of(bad)))
    if isinstance(bad.classes, bytes):
        (workplace / "classes.txt").write_bytes(bad.classes)
    elif bad.classes is not None:
        (workplace / "classes.txt").write_text(bad.classes)
    before = sorted(workplace.rglob("*"))
    assert cli.run(["distill", "bad.yaml", "--out", "run"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fastdfkd: ")
    assert err.count("fastdfkd: ") == 1, "one message"
    assert "Traceback" not in err
    assert not [part for part in bad.says if part not in " ".join(err.split())], err
    assert sorted(workplace.rglob("*")) == before, "nothing is written"
