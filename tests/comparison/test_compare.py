from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fastdfkd.comparison.compare import Comparison, compare
from fastdfkd.comparison.html_report import render
from fastdfkd.comparison.run_records import download_run
from fastdfkd.comparison.table import comparison_table, markdown, table_notes
from fastdfkd.comparison.tracked_runs import _comparable, compare_experiment
from fastdfkd.data import DATASETS
from fastdfkd.recipe import Recipe
from fastdfkd.runs import environment
from fastdfkd.runs.result import RunResult
from fastdfkd.tracking.store import Store, open_store
from tests.strangers.damages import WHOLE


def test_the_table_has_mean_deviation_and_marks(comparison: Comparison) -> None:
    table = comparison_table(comparison).set_index("setting")
    assert table.loc["quick", "accuracy"] == pytest.approx(0.85)
    assert table.loc["quick", "accuracy std"] == pytest.approx(0.1 / math.sqrt(2))
    # 2 s an image times 100 images, over 10 s and 8 s
    assert table.loc["quick", "synthesis_speedup"] == pytest.approx((20 + 25) / 2)
    assert table.loc["slow", "synthesis_speedup"] == 1
    assert list(table["mark"]) == ["", "10x", ""], "the slowest setting that reaches 10x"
    assert list(table["extrapolated"]) == [False, True, True]
    assert table.loc["quick", "reached"] == 1
    assert pd.isna(table.loc["quick", "seconds_to_accuracy"]), "one seed did not reach 85 %"
    text = markdown(comparison, table.reset_index())
    assert "| quick **10x** | 2 (1 re-used) | 85.0 % ± 7.1 % |" in text
    assert "22x ± 3.5x *" in text
    assert "1 of 2 seeds" in text
    assert "| 650 MiB ± 71 MiB | 900 MiB ± 0 MiB |" in text
    assert "synthesizer memory | trainer memory |" in text
    assert text.count("| - | - | - |") == 2, "the others have no memory and no time to 85 %"
    notes = "\n".join(table_notes(comparison, table.reset_index()))
    assert "10x: quick is the first to reach it" in notes
    assert "100x: no setting reaches it; the fastest has 50x" in notes
    assert "slow was measured on 32 images" in notes
    assert "Warning" not in notes


def test_the_notes_name_the_runs_with_a_warning(comparison: Comparison) -> None:
    run = comparison.runs["quick"][1]
    result = run.result.model_copy(update={"warnings": ["collapse, after 9 of 40 rounds"]})
    comparison.runs["quick"][1] = replace(run, result=result)
    notes = table_notes(comparison, comparison_table(comparison))
    assert "Warning: quick, seed 1: collapse, after 9 of 40 rounds" in notes


def test_the_notes_have_the_caution_of_the_data_set(comparison: Comparison) -> None:
    """That of the images, whatever the recipes are called."""
    caution = DATASETS["digits"][0].caution
    assert caution.startswith("Digits is an easy data set")
    table = comparison_table(comparison)
    others = {
        label: [replace(run, images=DATASETS["glyphs"][0]) for run in runs]
        for label, runs in comparison.runs.items()
    }
    assert table_notes(comparison, table)[-1] == caution
    assert caution not in table_notes(replace(comparison, runs=others), table)


def test_the_notes_name_banks_that_started_full(comparison: Comparison) -> None:
    full = {"started_images": 50, "started_synthesis_seconds": None}
    runs = {
        label: [
            replace(run, result=run.result.model_copy(update=full if label == "quick" else {}))
            for run in runs
        ]
        for label, runs in comparison.runs.items()
    }
    notes = table_notes(replace(comparison, runs=runs), comparison_table(comparison))
    assert [note for note in notes if "started with" in note] == [
        "quick started with 50 images; what they cost is not known, so speed-ups are of the run's "
        "own images alone."
    ]


def test_time_to_an_accuracy_is_the_first_evaluation_with_it(comparison: Comparison) -> None:
    run = comparison.runs["quick"][0]
    assert run.seconds_to(0.6) == 4.0
    assert run.seconds_to(0.61) == 8.0
    assert run.seconds_to(0.91) is None


class Page(HTMLParser):
    """Collects the addresses that a page loads, and counts its table cells."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.cells = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.cells += tag == "td"
        names = ("src", "href", "srcset", "data", "action")
        self.loads += [str(value) for name, value in attributes if name in names]
        assert tag not in ("script", "link", "iframe")


def test_the_report_loads_nothing_and_escapes(comparison: Comparison, tmp_path: Path) -> None:
    from fastdfkd.comparison.pictures import draw_all

    draw_all(comparison, tmp_path)
    table = comparison_table(comparison)
    text = render(comparison, table, table_notes(comparison, table), tmp_path)
    page = Page()
    page.feed(text)
    assert len(page.loads) == 3
    assert all(value.startswith("data:image/png;base64,") for value in page.loads)
    assert not re.search(r"https?://|url\(|@import", text)
    assert page.cells == 3 * 13
    assert "Against &lt;slow&gt;" in text
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


@pytest.fixture
def recipes(tiny_recipe: Callable[..., Recipe]) -> list[Recipe]:
    """The reference and two settings."""
    shape = {"rounds": 2, "warmup_rounds": 0, "batch_size": 4}
    return [
        tiny_recipe(
            name=name, synthesis={**shape, "steps": steps}, tracking={"experiment": "comparisons"}
        )
        for name, steps in (("ref", 50), ("two", 2), ("one", 1))
    ]


def test_finished_runs_are_reused_if_recipe_and_commit_are_the_same(
    workplace: Path,
    tracking_uri: str,
    platform: Any,
    recipes: list[Recipe],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reference, *others = recipes
    monkeypatch.setattr(environment, "commit", lambda: "a" * 40)
    first, folder = compare(others, reference, seeds=1, out="first")
    assert [run.reused for runs in first.runs.values() for run in runs] == [False] * 3
    for name in ("table.md", "table.csv", "runs.csv", "report.html", "time.png", "samples.png"):
        assert (folder / name).stat().st_size > 100
    monkeypatch.setattr("fastdfkd.comparison.pictures.draw_all", lambda *_: None)  # it was seen
    messages: list[str] = []
    second, folder = compare(others, reference, seeds=2, out="second", say=messages.append)
    reused = {label: [run.reused for run in runs] for label, runs in second.runs.items()}
    assert reused == {label: [True, False] for label in ("ref", "two", "one")}
    assert sum("(re-used)" in line for line in messages) == 3
    assert "2 (1 re-used)" in (folder / "table.md").read_text()
    assert [r.result for r in second.runs["one"][:1]] == [
        r.result.model_copy(update={"directory": s.result.directory})
        for r, s in zip(first.runs["one"], second.runs["one"], strict=False)
    ]
    for commit in ("b" * 40, "a" * 40 + "-dirty"):
        monkeypatch.setattr(environment, "commit", lambda commit=commit: commit)
        third, _ = compare(others[:1], reference, seeds=1, out=f"at-{commit[-7:]}")
        assert not any(run.reused for runs in third.runs.values() for run in runs)
    store = open_store(tracking_uri, "comparisons")
    runs = store.client.search_runs([store.experiment_id], "run_name = 'compare ref'")
    assert len(runs) == 4
    assert all("two.synthesis_speedup" in run.data.metrics for run in runs)
    whole, _ = compare_experiment("comparisons", "ref", out="all")
    assert {label: len(runs) for label, runs in whole.runs.items()} == {
        "ref": 2,
        "two": 2,
        "one": 2,
    }, "one run per seed: the newest"
    with pytest.raises(ValueError, match="0 finished runs of absent"):
        compare_experiment("comparisons", "absent", out="none")


def test_what_cannot_be_compared_is_refused(
    workplace: Path, platform: Any, recipes: list[Recipe]
) -> None:
    reference, other, _ = recipes
    teacher = other.teacher.model_copy(update={"epochs": 2})
    for sources, reason in (
        ([other.model_copy(update={"teacher": teacher})], "another teacher"),
        ([reference.model_copy(update={"seed": 5})], "two different recipes are named ref"),
        ([reference], "at least one RECIPE besides"),
    ):
        with pytest.raises(ValueError, match=reason):
            compare(sources, reference, out="out")
    with pytest.raises(ValueError, match="--seeds"):
        compare([other], reference, seeds=0, out="out")
    with pytest.raises(ValueError, match="--accuracy"):
        compare([other], reference, seeds=1, target_accuracy=90.0, out="out")
    assert platform.addresses == []


def test_runs_of_an_experiment_with_other_data_or_teachers_are_left_out(
    comparison: Comparison, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [run for group in comparison.runs.values() for run in group]
    result = runs[-1].result.model_copy(update={"teacher_digest": "other"})
    others = [replace(runs[-1], images=DATASETS["glyphs"][0]), replace(runs[-1], result=result)]
    kept = _comparable([*others, *runs], comparison.reference)
    assert sorted(map(id, kept)) == sorted(map(id, runs))
    assert "2 runs of other data or of another teacher than slow are left out" in caplog.text
    everything = _comparable([*others, *runs], "absent")
    assert len(everything) == len(runs) + 2, "the error lists the labels that there are"


@pytest.mark.parametrize(
    "damage", ["missing", "zeros", "noise", "cut in half", "flipped at the start"]
)
def test_damaged_samples_are_left_out_of_the_picture(
    comparison: Comparison,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    from fastdfkd.comparison.pictures import draw_all
    from fastdfkd.report.samples import save_grid

    for runs in comparison.runs.values():
        save_grid(np.zeros((4, 1, 16, 16), np.uint8), runs[0].folder / "samples.png")
    WHOLE[damage](comparison.runs["quick"][0].folder / "samples.png", tmp_path)
    draw_all(comparison, tmp_path)
    assert (tmp_path / "samples.png").stat().st_size > 1_000
    assert ("the samples of quick are left out" in caplog.text) == (damage != "missing")


@pytest.mark.parametrize("name", ["result.json", "recipe.yaml", "metrics.csv"])
def test_a_damaged_run_of_an_experiment_is_named_and_left_out(
    tmp_path: Path, finished_run: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """The others can be compared."""

    class Client:
        def list_artifacts(self, run_id: str) -> list[Any]:
            return [SimpleNamespace(path=path.name) for path in (tmp_path / run_id).iterdir()]

        def download_artifacts(self, run_id: str, name: str, into: str) -> None:
            shutil.copy(tmp_path / run_id / name, into)

    for run_id in ("good", "bad"):
        shutil.copytree(finished_run, tmp_path / run_id)
    (tmp_path / "bad" / name).unlink()
    (tmp_path / "bad" / name).mkdir()
    store = Store(Client(), "a store", "0")  # type: ignore[arg-type]
    assert download_run(store, "good", tmp_path / "1") == tmp_path / "1"
    assert download_run(store, "bad", tmp_path / "2") is None
    assert "MLflow run bad cannot be compared and is left out" in caplog.text


@pytest.fixture
def finished_run(
    tmp_path: Path, make_result: Callable[..., RunResult], tiny_recipe: Callable[..., Recipe]
) -> Path:
    folder = tmp_path / "finished"
    folder.mkdir()
    make_result().save(folder / "result.json")
    (folder / "recipe.yaml").write_text(tiny_recipe().to_yaml())
    (folder / "metrics.csv").write_text("updates\n1\n")
    return folder
