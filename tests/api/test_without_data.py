"""Runs without one real image: a student, and figures that say what they are measured on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import fastdfkd
from fastdfkd.cli import commands as cli
from fastdfkd.cli.summaries import run_summary
from fastdfkd.comparison.compare import compare
from fastdfkd.comparison.table import cells, comparison_table, table_notes
from fastdfkd.runs.figures import SYNTHETIC
from fastdfkd.runs.metrics import is_evaluation, read_rows
from fastdfkd.runs.result import RunResult
from fastdfkd.tracking.store import open_store
from tests.short_runs import SHORT_RUN, another_setting, shared_places

pytestmark = pytest.mark.cluster
TINY = SHORT_RUN
NO_DATA: dict[str, Any] = {
    "data.name": "none",
    "input.shape": [1, 16, 16],
    "input.classes": 10,
    "input.mean": [0.305],
    "input.std": [0.318],
    "evaluation.synthetic_images": 32,
}
REAL = ("accuracy", "teacher_accuracy", "top5_accuracy", "agreement")


@pytest.fixture(scope="module")
def folder(
    ray_cluster: None,
    tmp_path_factory: pytest.TempPathFactory,
    tracking_uri: str,
    teacher_cache: Path,
) -> Iterator[Path]:
    """A teacher's weights, runs `one` and `two` without data, and `both` with data and judge."""
    folder = tmp_path_factory.mktemp("runs")
    with shared_places(tracking_uri, teacher_cache):
        fastdfkd.train_teacher("digits-fast5", TINY, out=folder / "teacher")
        weights = {"teacher.weights": str(folder / "teacher/teacher.safetensors")}
        own = {**TINY, **weights, "platform.checkpoint_every": 1}
        fastdfkd.distill("digits-fast5", {**own, **NO_DATA, "name": "one"}, out=folder / "one")
        judged = {"name": "both", "evaluation.synthetic_images": 32}
        fastdfkd.distill("digits-fast5", {**own, **judged}, out=folder / "both")
        another_setting(folder / "one", folder / "two", name="two", steps=2)
        yield folder


def test_the_student_is_that_of_a_run_with_data(folder: Path) -> None:
    """Neither real nor held-out synthetic images have an influence on it."""
    found, expected = (load_file(folder / n / "student.safetensors") for n in ("one", "both"))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_both_are_judged_on_the_same_synthetic_images(folder: Path) -> None:
    one, both = RunResult.load(folder / "one"), RunResult.load(folder / "both")
    assert [getattr(one, name) for name in REAL] == [None] * 4
    assert all(getattr(both, name) is not None for name in REAL)
    for name in SYNTHETIC:
        assert getattr(one, name) == pytest.approx(getattr(both, name))
    assert 0 <= (one.synthetic_agreement or 0) <= 1
    assert one.input == {**both.input, "data": "none"}
    assert one.input["shape"] == [1, 16, 16]


def test_rows_and_mlflow_never_say_accuracy(folder: Path, tracking_uri: str) -> None:
    rows = list(filter(is_evaluation, read_rows(folder / "one/metrics.csv")))
    assert len(rows) == 2
    assert all(set(SYNTHETIC) <= set(row) and not set(REAL) & set(row) for row in rows)
    run_id = json.loads((folder / "one/state.json").read_text())["mlflow_run_id"]
    run = open_store(tracking_uri, "fastdfkd").client.get_run(run_id)
    assert set(SYNTHETIC) <= set(run.data.metrics)
    assert not set(REAL) & set(run.data.metrics)
    assert run.data.tags["input.shape"] == "[1, 16, 16]"


def test_every_screen_says_what_it_is_measured_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = fastdfkd.evaluate(folder / "one")
    assert (found.accuracy, found.agreement, found.figures) == (None, None, {})
    result = RunResult.load(folder / "one")
    assert found.synthetic == pytest.approx({name: getattr(result, name) for name in SYNTHETIC})
    assert cli.run(["evaluate", str(folder / "one")]) == 0
    evaluated = capsys.readouterr().out
    assert "on 32 held-out synthetic images, with the teacher in" in evaluated
    assert cli.run(["status", str(folder / "one")]) == 0
    status = capsys.readouterr().out
    assert "data none, shape [1, 16, 16]" in status
    for text in (evaluated, status, run_summary(result)):
        assert "agreement on synthetic images" in text
        assert "accuracy" not in text


def test_with_data_both_are_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["evaluate", str(folder / "both")]) == 0
    assert cli.run(["status", str(folder / "both")]) == 0
    shown = capsys.readouterr().out + run_summary(RunResult.load(folder / "both"))
    assert shown.count("agreement on synthetic images") == 3
    assert shown.count("accuracy") >= 3


def test_its_accuracy_is_measured_when_images_appear_later(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["evaluate", str(folder / "one"), "data.name=digits"]) == 0
    shown = capsys.readouterr().out
    accuracy = RunResult.load(folder / "both").accuracy
    assert accuracy is not None
    first = shown.splitlines()[0].split(maxsplit=1)
    assert first == ["accuracy", f"{accuracy:.1%} of 500 held-out real images"]
    recipe = (folder / "one/recipe.yaml").read_text()
    assert "name: none" in recipe, "the run's own files stay as they are"


def test_an_evaluation_changes_nothing_but_the_images(folder: Path) -> None:
    with pytest.raises(ValueError, match="data and evaluation only, got a change of synthesis"):
        fastdfkd.evaluate(folder / "one", ["synthesis.steps=7", "data.name=digits"])


def test_runs_are_compared_by_their_agreement(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    comparison, out = compare(
        [folder / "two"], folder / "one", out=tmp_path / "out", seeds=1, say=said.append
    )
    assert len(said) == 2
    assert all("agreement on synthetic images" in line for line in said)
    assert not any("accuracy" in line for line in said)
    assert comparison.figure == "synthetic_agreement"
    table = comparison_table(comparison)
    heads, rows = cells(comparison, table)
    assert heads[2] == "agreement on synthetic images"
    assert not any("accuracy" in head for head in heads)
    assert len(rows) == 2
    notes = " ".join(table_notes(comparison, table))
    assert "no accuracy" in notes
    assert "Agreement on synthetic images against seconds" in (out / "report.html").read_text()
    assert not list(out.glob("*accuracy*"))
    assert (out / "synthetic_agreement_vs_synthesis.png").is_file()
    for name in ("table.csv", "runs.csv"):
        columns = (out / name).read_text().partition("\n")[0].split(",")
        assert "seconds_to_synthetic_agreement" in columns
        assert not any("accuracy" in column for column in columns)


def test_a_run_without_data_is_resumed(folder: Path, tmp_path: Path) -> None:
    """Its evaluation at the end is that of the run that was never interrupted."""
    result = RunResult.load(folder / "one")
    out = tmp_path / "run"
    shutil.copytree(folder / "one", out)
    (out / "result.json").unlink()
    manifest = max((out / "checkpoints").glob("manifest-*.json"))
    manifest.unlink()  # the newest one is of the last update
    again = fastdfkd.resume(out)
    assert again.synthetic_agreement == result.synthetic_agreement
    assert again.accuracy is None


def test_an_untrained_teacher_is_refused_before_anything_is_spent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [f"{key}={json.dumps(value)}" for key, value in {**TINY, **NO_DATA}.items()]
    assert cli.run(["distill", "digits-fast5", *changes, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "teacher.weights: unset" in said
    assert "data.name is none, which has no training images" in said
    assert not (tmp_path / "out").exists()
