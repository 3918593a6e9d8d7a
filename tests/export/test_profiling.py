from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import fastdfkd
from fastdfkd.cli import commands as cli
from fastdfkd.export import measurements, profiling
from fastdfkd.export.measurements import BATCHES, call_seconds
from fastdfkd.export.programs import MeasuredNetwork, Program
from fastdfkd.models import build_network
from fastdfkd.recipe import RecipeError
from fastdfkd.runs.profile import Profile
from tests.models.builders import image_spec


def refuse(what: str) -> None:
    raise RecipeError("the profile of onnxruntime needs the package onnx")


def test_without_onnx_torch_alone_is_profiled(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "require_onnx", refuse)
    found = fastdfkd.profile_student(run, threads=1, seconds=0)
    assert [each.name for each in found.programs] == [
        *("teacher, torch, float32", "teacher, torch, bfloat16"),
        *("student, torch, float32", "student, torch, bfloat16"),
    ]
    assert found.notes == ["the profile of onnxruntime needs the package onnx"]
    teacher, _, student, small = found.programs
    network = build_network("resnet8-half", 5)
    assert teacher.parameters == student.parameters == sum(p.numel() for p in network.parameters())
    assert teacher.macs is not None
    assert student.macs is not None
    assert 1.4 < teacher.macs / student.macs < 1.7, "20 x 20 pixels, and 16 x 16"
    assert 1.8 < student.file_bytes / small.file_bytes < 2.2
    assert (teacher.agreement, teacher.same_class, student.same_class) == (1.0, 1.0, 1.0)
    assert student.agreement is not None
    assert 0 <= student.agreement < 1, "it is another network"
    assert small.same_class > 0.5
    assert all(0 < each.seconds[1] < each.seconds[64] for each in found.programs)
    assert (found.compared_on, found.images, found.threads) == ("images of the bank", 24, 1)
    assert Profile.load(run) == found
    page = (run / "profile.md").read_text()
    assert "| student, torch, bfloat16 |" in page
    assert "Teacher / student in torch, float32: file 1.0x" in page


def test_a_profile_that_cannot_be_kept_is_not_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(profiling, "markdown_page", lambda profile: profile.recipe)
    found = Profile(
        recipe="mine",
        programs=[],
        compared_on="images",
        images=1,
        figure_names={},
        threads=1,
        rounds=1,
        calibrated_on=None,
        hardware={"processor": "x", "cores": 1},
        versions={},
        commit="",
        notes=[],
    )
    profiling._keep(found, tmp_path / "file")
    assert "profile.json and profile.md cannot be written to" in caplog.text
    profiling._keep(found, tmp_path)
    assert Profile.load(tmp_path) == found


def test_programs_take_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now, calls = [0.0], []
    monkeypatch.setattr(measurements.time, "perf_counter", lambda: now[0])
    network = MeasuredNetwork(
        role="student", network=torch.nn.Identity(), spec=image_spec(), output="logits"
    )

    def program(cost: float) -> Program:
        def answer(images: Tensor) -> Tensor:
            calls.append(cost)
            now[0] += cost * len(images) + (100 if len(calls) < 10 else 0)
            return images

        return Program(
            of=network, runtime="torch", numbers="float32", file=tmp_path, open=lambda: answer
        )

    programs = [program(0.25), program(0.5)]
    found, rounds = call_seconds(programs, [each.open() for each in programs], 0)
    assert found == [{1: 0.25, 64: 16.0}, {1: 0.5, 64: 32.0}], "the first round is not counted"
    assert rounds == 3
    turn = sum(BATCHES.values())
    assert calls == ([0.25] * turn + [0.5] * turn) * 4


@pytest.mark.slow
def test_the_command_profiles_both_runtimes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert cli.run(["profile", str(run), "--threads", "1", "--seconds", "0", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    kinds = [(each["network"], each["runtime"], each["numbers"]) for each in said["programs"]]
    assert kinds == [
        (network, runtime, numbers)
        for network in ("teacher", "student")
        for runtime, both in (("torch", "bfloat16"), ("onnxruntime", "int8"))
        for numbers in ("float32", both)
    ]
    assert said["calibrated_on"] == "24 images of the bank"
    by_kind = dict(zip(kinds, said["programs"], strict=True))
    assert by_kind["student", "onnxruntime", "float32"]["same_class"] == 1.0
    assert said["notes"] == []
    (run / "profile.json").write_text("{}")
    with pytest.raises(ValueError, match=r"profile\.json: damaged"):
        Profile.load(run)


def test_a_teacher_that_is_gone_is_left_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "require_onnx", refuse)
    (run / "teacher.safetensors").unlink()
    found = fastdfkd.profile_student(run, threads=1, seconds=0)
    assert {each.network for each in found.programs} == {"student"}
    assert {each.agreement for each in found.programs} == {None}
    assert found.notes[0] == (
        "The teacher is left out: no weights with the teacher's digest were found."
    )
