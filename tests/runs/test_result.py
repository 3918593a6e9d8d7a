"""Results of other versions, and figures that no run can have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fastdfkd import evaluate
from fastdfkd.runs.result import RunResult

MakeResult = Callable[..., RunResult]


def test_a_result_without_top_5_is_read(tmp_path: Path, make_result: MakeResult) -> None:
    """As earlier versions wrote it, and as it is with five classes or fewer."""
    file = tmp_path / "result.json"
    make_result(top5_accuracy=0.99).save(file)
    values = json.loads(file.read_text())
    assert RunResult.load(tmp_path).top5_accuracy == values.pop("top5_accuracy") == 0.99
    file.write_text(json.dumps(values))
    assert RunResult.load(tmp_path).top5_accuracy is None


@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_an_impossible_top_5_is_refused(
    tmp_path: Path, make_result: MakeResult, value: float
) -> None:
    make_result(top5_accuracy=value).save(tmp_path / "result.json")
    with pytest.raises(ValueError, match="no run has such figures: top5_accuracy"):
        RunResult.load(tmp_path)


def test_a_run_that_has_not_ended_says_how_to_go_on(
    tmp_path: Path, make_result: MakeResult
) -> None:
    folder = tmp_path / "my run"
    folder.mkdir()
    for load in (RunResult.load, evaluate):
        with pytest.raises(FileNotFoundError, match=r" is missing$"):
            load(folder)
    (folder / "state.json").write_text("{}")
    (folder / "recipe.yaml").write_text("{}")
    for load in (RunResult.load, evaluate):
        with pytest.raises(FileNotFoundError, match=r"`fastdfkd distill --resume '.*my run'` goes"):
            load(folder)
