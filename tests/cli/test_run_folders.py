"""The commands `runs` and `clean`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fastdfkd.cli import commands as cli
from tests.runs.test_listing import make_run


def test_runs_lists_runs_and_their_results(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(workplace / "runs/one")
    assert cli.run(["runs"]) == 0
    output = capsys.readouterr().out
    assert "75.0% accuracy" in output
    assert "finished" in output
    assert cli.run(["runs", "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["directory"] == "runs/one"


def test_a_folder_without_runs_says_so(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["runs", "."]) == 0
    assert "holds no run" in capsys.readouterr().out
    assert cli.run(["clean", "."]) == 0
    assert "nothing that can be removed" in capsys.readouterr().out
    assert cli.run(["runs", "absent"]) == 2
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "answer", "gone"),
    [
        (["clean"], "y\n", True),
        (["clean"], "n\n", False),
        (["clean"], "", False),
        (["clean", "--yes"], "", True),
        (["clean", "--dry-run"], "y\n", False),
    ],
)
def test_clean_asks_first(workplace: Path, words: list[str], answer: str, gone: bool) -> None:
    run = make_run(workplace / "runs/one")
    result = CliRunner().invoke(cli.app, words, input=answer)
    assert "5 kB" in result.output
    assert (run / "checkpoints").exists() != gone
    assert ("freed" in result.output) == gone
