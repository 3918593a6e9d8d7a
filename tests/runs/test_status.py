from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastdfkd.cli import commands as cli
from fastdfkd.recipe import Recipe, images_only
from fastdfkd.report import status_screen
from fastdfkd.runs.metrics import COLUMNS
from fastdfkd.runs.result import RunResult
from fastdfkd.runs.status import QUIET_S, read_status, time_left

ROW = {
    "rounds": 1,
    "images": 4,
    "bank_images": 4,
    "updates": 4,
    "staleness": 1,
    "synthesis_seconds": 2.0,
    "synthesizer_idle_seconds": 1.0,
    "trainer_idle_seconds": 2.5,
    "end_to_end_seconds": 5.0,
}


class Folder:
    """The folder of a run, with functions that write its files."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path, self.recipe = path, recipe
        path.mkdir()
        (path / "recipe.yaml").write_text(recipe.to_yaml())

    def rows(self, *rows: dict[str, float]) -> None:
        lines = [COLUMNS, *([str(row.get(name, "")) for name in COLUMNS] for row in rows)]
        (self.path / "metrics.csv").write_text("\n".join(map(",".join, lines)) + "\n")

    def state(self, **values: Any) -> None:
        (self.path / "state.json").write_text(json.dumps(values))

    def aged(self, seconds: float) -> None:
        """Set the age of all files."""
        then = time.time() - seconds
        for file in self.path.iterdir():
            os.utime(file, (then, then))


@pytest.fixture
def folder(tmp_path: Path, tiny_recipe: Callable[..., Recipe]) -> Folder:
    return Folder(tmp_path / "run", tiny_recipe())


def test_a_folder_without_a_run_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (tmp_path, tmp_path / "absent"):
        assert cli.run(["status", str(name)]) == 2
        assert f"{name} holds no run" in capsys.readouterr().err


def test_the_state_depends_on_the_files(
    folder: Folder, make_result: Callable[..., RunResult]
) -> None:
    assert read_status(folder.path).state == "starting"
    folder.rows(ROW)
    assert read_status(folder.path).state == "running"
    folder.aged(QUIET_S + 5)
    assert read_status(folder.path).state == "silent"
    folder.state(state="running")
    assert read_status(folder.path).state == "running", "state.json has just changed"
    folder.state(state="failed", error="disk full")
    status = read_status(folder.path)
    assert (status.state, status.error, status.over) == ("failed", "disk full", True)
    (folder.path / "result.json").write_text(make_result().model_dump_json())
    assert read_status(folder.path).state == "finished"


@pytest.mark.parametrize("name", ["recipe.yaml", "metrics.csv"])
def test_one_file_is_enough(folder: Folder, name: str) -> None:
    folder.rows(ROW)
    for file in folder.path.iterdir():
        if file.name != name:
            file.unlink()
    assert read_status(folder.path).state in ("starting", "running")
    assert cli.run(["status", str(folder.path)]) == 0


@pytest.mark.parametrize("name", ["state.json", "result.json", "teacher.json", "recipe.yaml"])
def test_a_damaged_file_counts_as_missing(folder: Folder, name: str) -> None:
    folder.rows(ROW)
    (folder.path / name).write_text('{"accuracy": 0.')
    assert read_status(folder.path).state == "running"
    assert cli.run(["status", str(folder.path)]) == 0


def test_an_incomplete_row_is_not_shown(folder: Folder) -> None:
    folder.rows(ROW, {**ROW, "updates": 8, "end_to_end_seconds": 9.0})
    file = folder.path / "metrics.csv"
    whole = read_status(folder.path).latest
    text = file.read_text()
    for cut in range(1, len(text.splitlines()[-1]) + 1):
        file.write_text(text[:-cut])
        latest = read_status(folder.path).latest
        assert latest == ROW, f"{cut} characters short: {text[:-cut].splitlines()[-1]}"
    assert whole["updates"] == 8


def test_time_left_follows_the_newest_rate(tiny_recipe: Callable[..., Recipe]) -> None:
    recipe = tiny_recipe(
        synthesis={"rounds": 10, "warmup_rounds": 0, "batch_size": 4},
        distillation={"updates_per_round": 10, "batch_size": 4},
    )
    assert recipe.updates == 100
    slow = [{"updates": u, "end_to_end_seconds": 10.0 * u} for u in (1, 2)]
    assert time_left(slow, recipe) == pytest.approx(980)
    fast = [{"updates": 2 + u, "end_to_end_seconds": 20 + 0.5 * u} for u in range(1, 31)]
    assert time_left(slow + fast, recipe) == pytest.approx(68 * 0.5)
    assert time_left([{"rounds": 1}, *slow[:1]], recipe) is None
    assert time_left([], recipe) is None


def test_faults_come_from_the_rows_before_the_state(folder: Folder) -> None:
    folder.state(state="running", faults={"restarts": 1})
    folder.rows(ROW)
    assert read_status(folder.path).faults == {"restarts": 1}
    folder.rows({**ROW, "restarts": 3, "lost": 2})
    assert read_status(folder.path).faults == {"restarts": 3, "lost": 2}


def test_the_screen_shows_all_parts(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    (folder.path / "teacher.json").write_text('{"accuracy": 0.998}')
    folder.rows(
        {"rounds": 1, "images": 4, "synthesis_seconds": 1.0},
        {**ROW, "updates": 2, "end_to_end_seconds": 3.0, "accuracy": 0.5, "agreement": 0.25},
        {**ROW, "restarts": 2, "rejected": 1, "lost": 0},
    )
    assert cli.run(["status", str(folder.path)]) == 0
    shown = capsys.readouterr().out
    for words in (
        "running, about 0:00:06 left",
        "4 of 10 student updates",
        "tiny (fast, 5 steps), async",
        "1 synthesizer, student in the driver",
        "resnet14 to resnet8-half, teacher's accuracy 99.8%",
        "accuracy 50.0%, agreement 25.0%",
        "4 of 8, 4 in bank",
        "1 student versions",
        "2 synthesizer restarts, 1 batches rejected, 0 batches lost",
        "8 images, oldest round out; 5 draws an insert",
        "synthesizers - of their time, trainer -",
    ):
        assert words in shown
    assert re.search(r"synthesizer idle +1\.0 s +20%", shown), "1 s of 5 s"
    assert re.search(r"trainer idle +2\.5 s +50%", shown)
    assert len(shown.splitlines()) <= 24, "one screen"


def test_a_run_without_a_student_says_so(
    tmp_path: Path, tiny_recipe: Callable[..., Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path / "images", images_only(tiny_recipe()))
    folder.state(state="running", images_only=True)
    folder.rows(ROW)
    cli.run(["status", str(folder.path)])
    shown = capsys.readouterr().out
    assert "1 synthesizer, no student: images only" in shown
    assert "4 of 8 images" in shown
    assert "student updates" not in shown
    assert "resnet8-half" not in shown
    assert "4 of 8, 4 in bank" in shown


def test_a_bank_that_starts_full_is_shown(
    tmp_path: Path, tiny_recipe: Callable[..., Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path / "full", tiny_recipe(bank={"start_from": "runs/before"}))
    cli.run(["status", str(folder.path)])
    assert "besides those of runs/before" in " ".join(capsys.readouterr().out.split())


def test_shares_are_relative_to_all_synthesizers(
    tmp_path: Path, tiny_recipe: Callable[..., Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    four = Folder(tmp_path / "four", tiny_recipe(platform={"synthesizers": 4, "workers": 2}))
    four.rows(ROW)
    cli.run(["status", str(four.path)])
    shown = capsys.readouterr().out
    assert re.search(r"synthesizer idle +1\.0 s +5%", shown), "1 of 4 x 5 seconds"
    assert "4 synthesizers, student in 2 workers" in shown


def test_watch_ends_with_the_run(
    folder: Folder, make_result: Callable[..., RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    folder.rows(ROW)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            (folder.path / "result.json").write_text(make_result().model_dump_json())
        assert len(pauses) < 5, "it should have ended"

    monkeypatch.setattr(status_screen.time, "sleep", pause)
    monkeypatch.setattr(Console, "is_terminal", True)
    status_screen.show(folder.path, watch=True)
    assert pauses == [2.0, 2.0]


def test_status_imports_no_torch_and_no_ray(folder: Folder) -> None:
    folder.rows(ROW)
    code = (
        "import sys\nfrom fastdfkd.cli import commands as cli\n"
        "assert cli.run(['status', sys.argv[1]]) == 0\n"
        "heavy = {'torch', 'ray', 'mlflow', 'pandas'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, str(folder.path)], check=True, capture_output=True)


def test_hostile_text_is_shown_completely_as_text(
    tmp_path: Path, tiny_recipe: Callable[..., Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    model = "pkg.[red]:" + "long_" * 40 + "\x1b[31m"
    recipe = tiny_recipe(student={"model": model})
    folder = Folder(tmp_path / ("[bold]x\n" + "deep" * 30), recipe)
    folder.state(state="failed", error="[/] \x1b]0;owned\x07 \u202eabc")
    assert cli.run(["status", str(folder.path)]) == 0
    shown = capsys.readouterr().out
    for words in (
        "[bold]x\\n" + "deep" * 30,
        "pkg.[red]:" + "long_" * 40 + "\\x1b[31m",
        "failed: [/] \\x1b]0;owned\\x07 \\u202eabc",
    ):
        assert words in shown
    assert "\x1b" not in shown


def test_warnings_are_shown_while_a_run_goes_and_afterwards(
    folder: Folder, make_result: Callable[..., RunResult], capsys: pytest.CaptureFixture[str]
) -> None:
    folder.rows({**ROW, "newest_confidence": 0.125, "newest_coverage": 0.5, "newest_distinct": 1})
    folder.state(
        state="running",
        warnings=["collapse, after 9 of 40 rounds: \x1b[31mred"],
        notes=["ResNet runs without cuda_graphs"],
    )
    assert read_status(folder.path).notes == ("ResNet runs without cuda_graphs",)
    assert read_status(folder.path).warnings == ("collapse, after 9 of 40 rounds: \x1b[31mred",)
    status_screen.show(folder.path)
    shown = capsys.readouterr().out
    assert not re.search(r"[│╭╰]| $", shown, re.MULTILINE), "a frame is for terminals"
    assert re.search(r"warning +collapse, after 9 of 40 rounds", shown)
    assert "\x1b[31m" not in shown
    assert "teacher's confidence 12%, 50% of the classes, 100% distinct" in shown
    assert re.search(r"note +ResNet runs without cuda_graphs", shown)
    make_result(warnings=["collapse, at the end"]).save(folder.path / "result.json")
    assert read_status(folder.path).warnings == ("collapse, at the end",)
    folder.state(state="running", warnings="not a list")
    (folder.path / "result.json").unlink()
    assert read_status(folder.path).warnings == ()
