from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastdfkd.api import quickstart
from fastdfkd.cli import commands as cli
from fastdfkd.recipe import load_recipe
from fastdfkd.runs.folder import RUN_FILES
from fastdfkd.runs.result import RunResult
from fastdfkd.tracking.store import open_store

MakeResult = Callable[..., RunResult]


@pytest.fixture
def quick_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipes of the settings, with a teacher that trains for one epoch."""
    monkeypatch.setattr(
        quickstart, "load_recipe", lambda name: load_recipe(name, {"teacher.epochs": 1})
    )


def test_the_settings_share_teacher_student_and_updates() -> None:
    recipes = [load_recipe(name) for name in quickstart.SETTINGS.values()]
    assert len({recipe.teacher for recipe in recipes}) == 1
    assert len({recipe.student for recipe in recipes}) == 1
    assert len({recipe.data for recipe in recipes}) == 1
    assert len({recipe.updates for recipe in recipes}) == 1


def test_all_settings_are_run_and_reported(
    workplace: Path,
    tracking_uri: str,
    platform: Any,
    quick_teacher: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = quickstart.run_quickstart()
    folder = workplace / "runs/quickstart"
    for setting in quickstart.SETTINGS:
        assert set(RUN_FILES) - {"sources.json"} == {
            file.name for file in (folder / setting).iterdir()
        }
        saved = RunResult.load(folder / setting)
        assert saved == found[setting]
        assert saved.synthesis_speedup is not None
        assert saved.end_to_end_speedup is not None
    assert found["deep-inversion"].synthesis_speedup == 1
    with (folder / "table.csv").open() as file:
        assert [row["setting"] for row in csv.DictReader(file)] == [
            "teacher",
            *quickstart.SETTINGS,
        ]
    assert "| fast-5 |" in (folder / "table.md").read_text()
    assert (folder / "accuracy_vs_synthesis.png").stat().st_size > 10_000
    shown = capsys.readouterr().out
    for text in ("10x:", "100x:", "only 32 images", "easy", tracking_uri, str(folder)):
        assert text in " ".join(shown.split()) or text in shown
    store = open_store(tracking_uri, "fastdfkd")
    runs = store.client.search_runs([store.experiment_id], "run_name = 'quickstart'")
    parent = runs[0]
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["deep-inversion.synthesis_speedup"] == 1
    children = store.client.search_runs(
        [store.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    assert {run.info.run_name for run in children} == set(quickstart.SETTINGS)
    assert all(run.data.metrics["synthesis_speedup"] > 0 for run in children)
    assert cli.run(["quickstart", "--json"]) == 0  # replaces the files of the first one
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == list(quickstart.SETTINGS)
    assert printed["fast-5"]["folder"] == str(folder / "fast-5")
    assert printed["fast-5"]["synthesis_speedup"] > 0


def test_the_first_setting_to_reach_a_goal_is_named(make_result: MakeResult) -> None:
    results = {
        "deep-inversion": make_result(images=64, synthesis_seconds=128),
        "fast-10": make_result(synthesis_speedup=80.0, end_to_end_speedup=20.0),
        "fast-5": make_result(synthesis_speedup=160.0, end_to_end_speedup=30.0),
    }
    text = quickstart.explain(results)
    assert "deep-inversion, the 1x, needs 2.00 s of synthesis per image. Measured against" in text
    assert "10x: fast-10 is the first to reach it" in text
    assert "100x: fast-5 is the first to reach it" in text
    assert "(160x in synthesis, 30x end to end)" in text


def test_a_goal_that_no_setting_reaches_is_reported(make_result: MakeResult) -> None:
    results = {
        "deep-inversion": make_result(),
        "fast-10": make_result(synthesis_speedup=50.0, end_to_end_speedup=20.0),
    }
    assert "100x: no setting reaches it on this machine" in quickstart.explain(results)
