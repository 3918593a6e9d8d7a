"""The tables and files of a sweep whose values are hostile text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fastdfkd.cli.printing import print_sweep
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.text.safe_text import markdown, printable
from fastdfkd.tuning.plan import Sweep
from fastdfkd.tuning.sweep import new_sweep
from fastdfkd.tuning.sweep_report import write_sweep_report
from fastdfkd.tuning.trial_log import TrialLog, TrialRecord
from tests.hostile import TEXTS

MODELS = [text for text in TEXTS if "\ud800" not in text and "${" not in text]


@pytest.fixture
def sweep(workplace: Path, small: Recipe, options: Callable[..., Any]) -> Iterator[Sweep]:
    space = {"student.model": {"choice": MODELS}, "synthesis.steps": {"choice": [2]}}
    file = workplace / "space\nof <b>models.yaml"
    OmegaConf.save(OmegaConf.create({"space": space}), file)
    two_objectives = options(objective="accuracy,synthesis_seconds", trials=len(MODELS))
    with new_sweep(small, file, (), two_objectives, "out") as sweep:
        yield sweep


def test_varied_values_are_shown_as_text(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    trial_log = TrialLog(sweep.folder)
    assert sweep.points is not None
    for index, point in enumerate(sweep.points):
        figures = {
            "accuracy": 0.5 + index / 100,
            "agreement": 0.5,
            "synthesis_seconds": index + 1.0,
        }
        figures["end_to_end_seconds"] = 9.0
        record = {"index": index, "seed": 0, "point": point, "figures": figures}
        record["warnings"] = "collapse, | after 9 rounds" if index == 1 else ""
        error = f"ValueError: {point['student.model']}"
        trial_log.append(TrialRecord(**record, status="finished", error=error))
    files, _ = write_sweep_report(sweep, trial_log.records())
    assert all(file.stat().st_size for file in files)
    table = (sweep.folder / "table.md").read_text()
    assert len([line for line in table.splitlines() if line.startswith("| ")]) == len(MODELS) + 2
    assert table.count("finished, 1 with a warning |") == 1
    assert len([line for line in table.splitlines() if line.startswith("Warning: ")]) == 1
    assert markdown("collapse, | after 9 rounds") in table
    for model in MODELS:
        assert f"| {markdown(f'model={printable(model)}')} | 1 |" in table
    for name, column in (("trials.csv", "error"), ("points.csv", "student.model")):
        text = (sweep.folder / name).read_text().removeprefix("\ufeff")
        rows = list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == len(MODELS)
        for row, model in zip(rows, MODELS, strict=True):
            assert printable(model) in row[column]
            assert not row[column].startswith(("=", "+", "-", "@"))
    recipes = sorted(sweep.folder.glob("pareto-*.yaml"))
    assert [load_recipe(file).student.model for file in recipes] == MODELS
    assert load_recipe(sweep.folder / "best.yaml").student.model == MODELS[-1]
    print_sweep(sweep, print)
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "collapse, | after 9 rounds" in output
    assert "model=[red]not red[/red]" in output
