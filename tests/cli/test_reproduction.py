"""The command `reproduce`: what it lists and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastdfkd.cli import commands as cli


def test_tables_are_listed_with_their_rows_and_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["reproduce", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "digits: digits, 9 cells" in lines
    assert "  pairs  resnet14/resnet8-half" in lines
    assert cli.run(["reproduce", "cifar10", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == ["cifar10"]
    assert listed["cifar10"]["rows"]["fast5"] == "Fast-5"
    assert len(listed["cifar10"]["recipes"]) == 45


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a TABLE (`reproduce --list` lists them), or --resume DIR"),
        (["cifar11"], "table 'cifar11': unknown, did you mean cifar10?"),
        (["digits", "--rows", "fast6"], "--rows: 'fast6' in digits: unknown"),
        (["digits", "--resume", "out"], "--resume continues a table with its own rows"),
        (["--resume", "out", "--seeds", "1"], "its own seeds: remove --seeds"),
        (["--resume", "nowhere"], "holds no table: request.json is missing"),
    ],
)
def test_a_table_that_cannot_be_run_is_one_message(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert cli.run(["reproduce", *words]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
