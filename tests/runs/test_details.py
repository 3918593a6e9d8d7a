from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastdfkd.runs.details import DETAILS_FILE, RunDetails
from fastdfkd.runs.folder import RUN_FILES, write_json

VALUES: dict[str, Any] = {
    "class_names": ["cat", "dog"],
    "shape": [3, 8, 8],
    "sample_classes": {"teacher": [0, 1], "student": [1, 1]},
    "confusions": [
        {"against": "teacher", "judged_on": "held-out real images", "cells": [[0, 0, 5], [1, 0, 2]]}
    ],
}


def test_details_are_read_as_they_were_written(tmp_path: Path) -> None:
    details = RunDetails.model_validate(VALUES)
    details.save(tmp_path)
    assert RunDetails.load(tmp_path) == details
    assert DETAILS_FILE in RUN_FILES
    (confusion,) = details.confusions
    assert (confusion.total, confusion.same) == (7, 5)


def test_a_run_of_an_earlier_release_has_none(tmp_path: Path) -> None:
    assert RunDetails.load(tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [
        {"shape": "large"},
        {"sample_classes": {"teacher": [2]}},
        {"confusions": [{**VALUES["confusions"][0], "cells": [[0, 2, 1]]}]},
        {"confusions": [{**VALUES["confusions"][0], "cells": [[0, 1, 0]]}]},
    ],
)
def test_damage_is_one_message(change: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / DETAILS_FILE, {**VALUES, **change})
    with pytest.raises(ValueError, match=r"details\.json: damaged \("):
        RunDetails.load(tmp_path)
