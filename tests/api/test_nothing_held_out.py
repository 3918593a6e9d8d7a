"""Runs on data without a test split: everything works, and no figure is made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import fastdfkd
from fastdfkd.cli import commands as cli
from fastdfkd.cli.summaries import run_summary
from fastdfkd.comparison.compare import compare
from fastdfkd.data import DATASETS
from fastdfkd.runs.metrics import JUDGED, is_evaluation, read_rows
from fastdfkd.runs.result import RunResult
from fastdfkd.tracking.store import open_store
from tests.short_runs import SHORT_RUN, another_setting, shared_places

pytestmark = pytest.mark.cluster
TINY = {**SHORT_RUN, "evaluation.synthetic_images": 0}
UNKNOWN = ("accuracy", "teacher_accuracy", "agreement")


@contextmanager
def nothing_held_out() -> Iterator[None]:
    """Digits have no test split."""
    spec, read = DATASETS["digits"]

    def train_only(split: Any, root: str | None) -> Any:
        return None if split == "test" else read(split, root)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "digits", (spec, train_only))
        yield


@pytest.fixture(scope="module")
def runs(
    ray_cluster: None,
    tmp_path_factory: pytest.TempPathFactory,
    tracking_uri: str,
    teacher_cache: Path,
) -> Iterator[Path]:
    """Folders `one` and `two` of runs without held-out images, `judged` of run `one` with them."""
    folder = tmp_path_factory.mktemp("runs")
    with shared_places(tracking_uri, teacher_cache):
        changes = {**TINY, "name": "one"}
        fastdfkd.distill("digits-fast5", changes, out=folder / "judged")
        with nothing_held_out():
            fastdfkd.distill("digits-fast5", changes, out=folder / "one")
            another_setting(folder / "one", folder / "two", name="two", steps=2)
            yield folder


def test_the_student_is_that_of_the_run_with_held_out_images(runs: Path) -> None:
    found, expected = (load_file(runs / name / "student.safetensors") for name in ("one", "judged"))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_the_result_says_that_nothing_is_known(runs: Path) -> None:
    result = RunResult.load(runs / "one")
    assert [getattr(result, name) for name in UNKNOWN] == [None] * 3
    facts = json.loads((runs / "one/result.json").read_text())
    assert [facts[name] for name in UNKNOWN] == [None] * 3
    judged = json.loads((runs / "judged/result.json").read_text())
    assert list(facts) == list(judged)
    assert all(0 <= judged[name] <= 1 for name in UNKNOWN)
    assert json.loads((runs / "one/teacher.json").read_text())["accuracy"] is None


def test_rows_have_no_figures_to_judge_by(runs: Path) -> None:
    rows = {name: read_rows(runs / name / "metrics.csv") for name in ("one", "judged")}
    assert not any(map(is_evaluation, rows["one"]))
    assert [set(row) & set(JUDGED) for row in rows["judged"] if is_evaluation(row)] == [
        {"accuracy", "top5_accuracy", "agreement"}
    ] * 2
    assert rows["one"][-1]["updates"] == rows["judged"][-1]["updates"] == 4


def test_mlflow_has_the_other_figures(runs: Path, tracking_uri: str) -> None:
    run_id = json.loads((runs / "one/state.json").read_text())["mlflow_run_id"]
    run = open_store(tracking_uri, "fastdfkd").client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert "end_to_end_seconds" in run.data.metrics
    assert not set(UNKNOWN) & set(run.data.metrics)


def test_evaluate_and_status_say_so(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = fastdfkd.evaluate(runs / "one")
    assert (found.images, found.accuracy, found.teacher_accuracy, found.agreement) == (
        0,
        None,
        None,
        None,
    )
    assert cli.run(["evaluate", str(runs / "one")]) == 0
    shown = capsys.readouterr().out
    assert "agreement unknown (with the teacher in" in shown
    assert cli.run(["status", str(runs / "one")]) == 0
    assert "not evaluated yet, loss" in capsys.readouterr().out


def test_the_summary_of_a_run_says_so(runs: Path) -> None:
    lines = run_summary(RunResult.load(runs / "one")).splitlines()
    assert lines[0].split() == ["accuracy", "unknown", "(teacher", "unknown)"]
    assert lines[1].split() == ["agreement", "unknown", "with", "the", "teacher"]


def test_they_are_compared_by_their_seconds(runs: Path, tmp_path: Path) -> None:
    said: list[str] = []
    found, folder = compare(
        [runs / "two"], runs / "one", out=tmp_path / "out", seeds=1, say=said.append
    )
    assert found.target_accuracy is None
    assert [line.partition(",")[0] for line in said] == [
        "one seed=0: accuracy unknown",
        "two seed=0: accuracy unknown",
    ]
    heads, *_ = table = (folder / "table.md").read_text().splitlines()[2:]
    assert "| time to accuracy |" in heads
    rows = [[cell.strip() for cell in line.split("|")] for line in table if line.startswith("| ")]
    by_name = {row[1].partition(" ")[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
    for name in ("one", "two"):
        assert by_name[name]["accuracy"] == by_name[name]["agreement"] == "-"
        assert by_name[name]["synthesis / image"].endswith("s")
    assert (folder / "report.html").is_file()
    assert (folder / "accuracy_vs_synthesis.png").is_file()
