from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastdfkd.runs.folder import (
    RUN_FILES,
    RUN_FOLDERS,
    claim_folder,
    read_json,
    write_text,
)


def claim(recipe: str, out: str | Path | None, **options: Any) -> Path:
    """Claim a folder and release it at once."""
    with claim_folder(recipe, out, **options) as folder:
        return folder


def test_runs_of_the_same_second_get_different_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda _: "20260102-030405")
    names = []
    for _ in range(3):
        with claim_folder("digits", None) as folder:
            (folder / "kept").touch()
        names.append(folder.name)
    stem = "digits-20260102-030405"
    assert names == [stem, f"{stem}-2", f"{stem}-3"]
    assert sorted(folder.name for folder in (tmp_path / "runs").iterdir()) == names


def test_a_folder_with_files_is_refused_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(ValueError, match=r"is not empty: .*--overwrite"):
        claim("digits", tmp_path)
    assert (tmp_path / "result.json").read_text() == "{}"
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("name", ["checkpoints/best.pt", "export/a.onnx", "recipe.yaml"])
def test_overwriting_removes_nothing_of_a_folder_without_a_run(tmp_path: Path, name: str) -> None:
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("precious")
    with pytest.raises(ValueError, match=rf"holds no run, and {name.split('/')[0]} in it would be"):
        claim("digits", tmp_path, overwrite=True)
    assert mine.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [tmp_path / name.split("/")[0]]
    (tmp_path / "state.json").touch()
    claim("digits", tmp_path, overwrite=True)
    assert not mine.exists()


def test_overwriting_removes_only_the_files_of_a_run(tmp_path: Path) -> None:
    for name in (*RUN_FILES, "notes.txt"):
        (tmp_path / name).write_text("old")
    for name in (*RUN_FOLDERS, "kept"):
        (tmp_path / name / "inner").mkdir(parents=True)
    assert claim("digits", tmp_path, overwrite=True) == tmp_path
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kept", "notes.txt"]


def test_an_empty_folder_is_accepted(tmp_path: Path) -> None:
    assert claim("digits", tmp_path) == tmp_path


def test_a_relative_folder_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert claim("digits", "here/run") == tmp_path / "here" / "run"


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file: name a folder"):
        claim("digits", tmp_path / "file")


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="cannot write to the run's folder"):
        claim("digits", tmp_path / "file" / "run")


def test_a_folder_that_is_not_writable_is_an_error() -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("needs /proc, where even root cannot create files")
    with pytest.raises(OSError, match="cannot write to the run's folder /proc/run"):
        claim("digits", "/proc/run")


def test_only_an_empty_folder_is_removed(tmp_path: Path) -> None:
    claim("digits", tmp_path / "empty")
    with claim_folder("digits", tmp_path / "full") as full:
        (full / "recipe.yaml").write_text("")
    with pytest.raises(RuntimeError, match="boom"), claim_folder("digits", tmp_path / "broken"):
        raise RuntimeError("boom")
    assert list(tmp_path.iterdir()) == [full]
    assert [file.name for file in full.iterdir()] == ["recipe.yaml"]


def test_a_write_replaces_the_file_and_leaves_no_other_file(tmp_path: Path) -> None:
    write_text(tmp_path / "result.json", "old")
    write_text(tmp_path / "result.json", "new")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[1]", "expected a JSON object, got list"), (b"{", "cut short"), (b"\xff", "cut short")],
)
def test_a_file_without_a_json_object_is_an_error(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "state.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "state.json")
