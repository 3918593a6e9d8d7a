"""The runs in a folder, and what can be removed from them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fastdfkd.recipe import load_recipe
from fastdfkd.runs.folder_lock import FolderInUseError, lock_folder
from fastdfkd.runs.listing import clean, list_runs


def make_run(
    folder: Path, *, result: bool = True, images_only: bool = False, changed: float = 1e9
) -> Path:
    """The files of a run with 5,000 bytes of checkpoints."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/images.safetensors").write_bytes(bytes(5000))
    (folder / "recipe.yaml").write_text(load_recipe("digits-fast5").to_yaml())
    state = {"state": "finished" if result else "stopped", "images_only": images_only}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "student.safetensors").write_bytes(bytes(700))
    if result:
        content = {"accuracy": 0.75, "agreement": 0.8, "end_to_end_seconds": 12.0}
        (folder / "result.json").write_text(json.dumps(content))
    for path in folder.iterdir():
        os.utime(path, (changed, changed))
    return folder


def test_runs_are_found_at_any_depth_newest_first(tmp_path: Path) -> None:
    make_run(tmp_path / "old", changed=1e9)
    make_run(tmp_path / "sweep/trials/newest", changed=3e9, result=False)
    make_run(tmp_path / "new", changed=2e9)
    make_run(tmp_path / "old/checkpoints/inside")  # not a run of its own
    (tmp_path / "mlartifacts").mkdir()
    (tmp_path / "mlartifacts/recipe.yaml").write_text("name: an artifact of MLflow")
    (tmp_path / "link").symlink_to(tmp_path / "old")
    runs = list_runs(tmp_path)
    assert [run.directory.name for run in runs] == ["newest", "new", "old"]
    assert [run.status.state for run in runs] == ["stopped", "finished", "finished"]
    facts = runs[1].facts()
    assert facts["figures"] == {"accuracy": 0.75, "agreement": 0.8}
    assert facts["recipe"] == "digits-fast5"
    assert facts["end_to_end_seconds"] == 12.0
    assert facts["removable_bytes"] == 5000
    assert facts["bytes"] > 5700
    assert json.loads(json.dumps(facts)) == facts


def test_a_folder_that_is_a_run_is_listed_itself(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    assert [run.directory for run in list_runs(tmp_path / "run")] == [tmp_path / "run"]


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        list_runs(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file"):
        list_runs(tmp_path / "file")


def test_only_checkpoints_of_finished_runs_can_go(tmp_path: Path) -> None:
    make_run(tmp_path / "finished")
    make_run(tmp_path / "stopped", result=False)
    make_run(tmp_path / "images", images_only=True)
    found = {run.directory.name: run for run in list_runs(tmp_path)}
    assert {name: run.removable for name, run in found.items()} == {
        "finished": 5000,
        "stopped": 0,
        "images": 0,
    }
    assert [clean(run) for run in found.values()].count(5000) == 1
    assert not (tmp_path / "finished/checkpoints").exists()
    assert (tmp_path / "finished/student.safetensors").exists()
    assert (tmp_path / "stopped/checkpoints").exists()
    assert (tmp_path / "images/checkpoints").exists()


def test_a_run_in_use_is_left_alone(tmp_path: Path) -> None:
    (run,) = list_runs(make_run(tmp_path / "run"))
    with lock_folder(tmp_path / "run"), pytest.raises(FolderInUseError, match="in use by process"):
        clean(run)
    assert (tmp_path / "run/checkpoints/images.safetensors").exists()
