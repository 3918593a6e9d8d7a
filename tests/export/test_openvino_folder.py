from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import fastdfkd
from fastdfkd.cli import commands as cli
from tests.export.finished_runs import bank_images
from tests.export.test_exporting import SHAPE, expected_logits

KEYS = ("class_names", "teacher", "input")


@pytest.mark.slow
def test_openvino_answers_as_the_student_and_carries_the_facts(
    run: Path,
) -> None:
    openvino = pytest.importorskip("openvino")
    assert cli.run(["export", str(run), "--to", "openvino", "--licence", "<CC> & 'BY'"]) == 0
    folder = run / "export" / "openvino"
    assert sorted(each.name for each in folder.iterdir()) == ["student.bin", "student.xml"]
    model = openvino.Core().read_model(folder / "student.xml")
    facts = {key: json.loads(model.get_rt_info(["fastdfkd", key]).astype(str)) for key in KEYS}
    assert facts["class_names"] == ["0", "1", "2", "3", "4"]
    assert facts["teacher"]["licence"] == "<CC> & 'BY'"
    assert facts["input"]["shape"] == [None, 3, 16, 16]
    program = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (1, 7):
        images = bank_images(count, SHAPE)
        found = program({"images": images.numpy()})["logits"]
        np.testing.assert_allclose(found, expected_logits(run, images), atol=1e-4)


def test_the_missing_extra_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        ValueError, match=r"openvino needs the package openvino.*fastdfkd\[openvino\]"
    ):
        fastdfkd.export_student(run, "openvino")
    assert not (run / "export").exists()
