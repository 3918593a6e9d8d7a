from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fastdfkd
from fastdfkd.models import build_network, save_weights
from fastdfkd.recipe import Recipe, RecipeError, load_recipe
from fastdfkd.runs.folder import RUN_FILES
from fastdfkd.runs.result import RunResult
from fastdfkd.tracking import TrackingError
from fastdfkd.tracking.store import open_store

Make = Callable[..., Recipe]


def statuses(uri: str, name: str) -> list[str]:
    store = open_store(uri, "fastdfkd")
    runs = store.client.search_runs([store.experiment_id], f"attributes.run_name = '{name}'")
    return [run.info.status for run in runs]


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, os, fastdfkd\n"
        "heavy = {'torch', 'ray', 'mlflow', 'pandas', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert os.environ['RAY_USAGE_STATS_ENABLED'] == '0'\n"
        "assert os.environ['MLFLOW_DISABLE_TELEMETRY'] == 'true'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there() -> None:
    for name in fastdfkd.__all__:
        assert getattr(fastdfkd, name) is not None
        assert name in dir(fastdfkd)
    with pytest.raises(AttributeError, match="no attribute 'destill'"):
        fastdfkd.destill  # noqa: B018


def test_a_run_leaves_everything(
    workplace: Path, tracking_uri: str, tiny_recipe: Make, platform: Any
) -> None:
    found = fastdfkd.distill(
        tiny_recipe(), {"synthesis.steps": 2}, out="out", address="ray://x", run_name="whole"
    )
    assert found.directory == workplace / "out"
    assert sorted(file.name for file in found.directory.iterdir()) == sorted(
        {*RUN_FILES} - {"sources.json"}  # of a recipe that names Python files
    )
    assert RunResult.load(found.directory) == found
    recipe = load_recipe(found.directory / "recipe.yaml")
    assert (recipe.synthesis.steps, recipe.digest()) == (2, found.recipe_digest)
    teacher = json.loads((found.directory / "teacher.json").read_text())
    assert len(teacher["digest"]) == 64
    assert teacher["accuracy"] == found.teacher_accuracy
    assert platform.addresses == ["ray://x"]
    assert statuses(tracking_uri, "whole") == ["FINISHED"]


def test_without_a_folder_it_goes_to_runs(
    workplace: Path, tiny_recipe: Make, platform: Any
) -> None:
    found = fastdfkd.distill(tiny_recipe())
    assert found.directory is not None
    assert found.directory.parent == workplace / "runs"
    assert found.directory.name.startswith("tiny-20")


@pytest.mark.parametrize(("made", "by"), [(True, "synthesize"), (False, "distill")])
def test_a_run_is_resumed_by_the_command_that_began_it(
    made: bool, by: str, tmp_path: Path, tiny_recipe: Make
) -> None:
    (tmp_path / "recipe.yaml").write_text(tiny_recipe().to_yaml())
    (tmp_path / "state.json").write_text(json.dumps({"images_only": True} if made else {}))
    other = fastdfkd.resume if made else fastdfkd.resume_synthesis
    with pytest.raises(ValueError, match=rf"started by fastdfkd {by}: .*{by} --resume"):
        other(tmp_path)


def test_a_users_own_teacher_is_taken(workplace: Path, tiny_recipe: Make, platform: Any) -> None:
    torch.manual_seed(0)
    fastdfkd.distill(tiny_recipe(), out="out", teacher=build_network("resnet14", 10, 1))
    assert json.loads((workplace / "out/teacher.json").read_text())["source"] == "module"
    found = fastdfkd.evaluate("out")
    assert found.agreement is None
    assert "given from Python" in found.note


def test_a_run_that_breaks_has_no_result(
    workplace: Path, tracking_uri: str, tiny_recipe: Make, platform: Any
) -> None:
    platform.error = RuntimeError("boom")
    with pytest.raises(RuntimeError, match="boom"):
        fastdfkd.distill(tiny_recipe(), out="out", run_name="broken")
    assert not (workplace / "out/result.json").exists()
    assert statuses(tracking_uri, "broken") == ["FAILED"]
    assert platform.connected == 0


def test_a_finished_run_is_only_overwritten_when_told(
    workplace: Path, tiny_recipe: Make, platform: Any
) -> None:
    first = fastdfkd.distill(tiny_recipe(), out="out")
    with pytest.raises(ValueError, match="not empty"):
        fastdfkd.distill(tiny_recipe(), out="out")
    assert RunResult.load("out") == first.model_copy(update={"directory": Path("out")})
    second = fastdfkd.distill(tiny_recipe(seed=1), out="out", overwrite=True)
    assert RunResult.load("out").recipe_digest == second.recipe_digest != first.recipe_digest


def test_what_cannot_start_leaves_no_folder(
    workplace: Path, tiny_recipe: Make, platform: Any
) -> None:
    with pytest.raises(RecipeError, match="stepz"):
        fastdfkd.distill(tiny_recipe(), ["synthesis.stepz=2"])
    with pytest.raises(ValueError, match="no such file"):
        fastdfkd.distill(tiny_recipe(), {"teacher.weights": "absent.pt"}, out="out")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:1"):
        fastdfkd.distill(tiny_recipe(), {"tracking.uri": "http://127.0.0.1:1"}, out="out")
    assert not (workplace / "out").exists()
    assert platform.addresses == []


def test_training_a_teacher_writes_it(workplace: Path, tiny_recipe: Make) -> None:
    teacher = fastdfkd.train_teacher(tiny_recipe(), out="teacher")
    assert sorted(file.name for file in Path("teacher").iterdir()) == [
        "teacher.json",
        "teacher.safetensors",
    ]
    assert json.loads(Path("teacher/teacher.json").read_text())["digest"] == teacher.digest
    weights = str(workplace / "teacher/teacher.safetensors")
    again = fastdfkd.train_teacher(tiny_recipe(), {"teacher.weights": weights}, out="again")
    assert again.digest == teacher.digest


class TestEvaluate:
    @pytest.fixture
    def run(self, workplace: Path, tiny_recipe: Make, platform: Any) -> RunResult:
        return fastdfkd.distill(tiny_recipe(), out="out")

    def test_the_students_figures_and_the_teachers(self, run: RunResult) -> None:
        found = fastdfkd.evaluate("out")
        assert found.images == 500
        assert found.teacher_accuracy == run.teacher_accuracy
        assert found.agreement is not None
        assert 0 <= found.agreement <= 1
        assert list(found.figures) == ["accuracy", "top-5 accuracy"]
        assert 0 <= found.accuracy == found.figures["accuracy"] <= found.figures["top-5 accuracy"]

    def test_a_student_like_its_teacher_agrees_with_it(self, run: RunResult) -> None:
        teacher = fastdfkd.train_teacher(load_recipe("out/recipe.yaml"), out="teacher")
        recipe = Path("out/recipe.yaml")
        recipe.write_text(recipe.read_text().replace("resnet8-half", "resnet14"))
        save_weights("out/student.safetensors", teacher.model)
        found = fastdfkd.evaluate("out")
        assert (found.accuracy, found.agreement) == (teacher.accuracy, 1.0)

    def test_a_lost_teacher_costs_the_agreement_only(self, run: RunResult) -> None:
        facts = json.loads(Path("out/teacher.json").read_text())
        Path("out/teacher.json").write_text(json.dumps({**facts, "digest": "0" * 64}))
        found = fastdfkd.evaluate("out")
        assert (found.agreement, found.teacher_accuracy) == (None, None)
        assert "no weights with the teacher's digest" in found.note

    @pytest.mark.parametrize("name", ["student.safetensors", "recipe.yaml"])
    def test_a_folder_without_a_run_is_told(self, run: RunResult, name: str) -> None:
        Path("out", name).unlink()
        with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
            fastdfkd.evaluate("out")

    def test_a_damaged_student_is_told(self, run: RunResult) -> None:
        Path("out/student.safetensors").write_bytes(b"not weights")
        with pytest.raises(ValueError, match=r"student\.safetensors: expected safetensors"):
            fastdfkd.evaluate("out")

    def test_a_damaged_description_is_told(self, run: RunResult) -> None:
        Path("out/teacher.json").write_text('{"digest":')
        with pytest.raises(ValueError, match=r"teacher\.json: not readable as JSON"):
            fastdfkd.evaluate("out")
