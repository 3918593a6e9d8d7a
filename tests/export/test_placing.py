"""Where an export can be put, and what is said where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastdfkd.export.placing import FOLDER_MARKS, check_free, draft_of


def stopped_halfway(target: Path) -> None:
    with draft_of(target) as draft:
        draft.write_text("half")
        raise ValueError("stopped")


def test_a_draft_takes_the_place_or_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "new" / "student.onnx"
    with pytest.raises(ValueError, match="stopped"):
        stopped_halfway(target)
    assert list(tmp_path.iterdir()) == []
    with draft_of(target) as draft:
        draft.write_text("whole")
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "student.onnx"
    with (
        pytest.raises(OSError, match=r"^cannot write to .*file/student\.onnx: .*with --out$"),
        draft_of(target),
    ):
        pytest.fail("a draft was made")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path, overwrite: bool) -> None:
    home = tmp_path / "home"
    home.mkdir()
    if overwrite:
        check_free(home, overwrite)  # an empty one is no loss
    (home / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"home is a folder of something else.*with --out"):
        check_free(home, overwrite)


@pytest.mark.parametrize("mark", FOLDER_MARKS)
def test_an_earlier_export_is_replaced_if_asked(tmp_path: Path, mark: str) -> None:
    (tmp_path / mark).touch()
    check_free(tmp_path, True)
    with pytest.raises(ValueError, match=r"exists: name another file with --out"):
        check_free(tmp_path, False)
