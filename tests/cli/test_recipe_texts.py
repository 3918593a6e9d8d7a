"""The command `recipes`, with and without a key."""

from __future__ import annotations

import pytest

from fastdfkd.cli import commands as cli
from fastdfkd.recipe import load_recipe


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.run(["recipes", *words]) == 0
    return capsys.readouterr().out


def test_a_key_is_described_once_for_the_methods_that_share_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = printed(capsys, "synthesis.steps")
    assert "synthesis.steps  (method fast, auto)\n    values   whole number ≥ 1\n" in output
    assert "(method deep_inversion)" in output
    assert "`" not in output


def test_a_section_lists_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    output = printed(capsys, "bank")
    assert output.count("    default  ") == 3
    assert "bank.start_from\n" in output


def test_the_name_of_a_recipe_shows_its_file(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("shown") / "digits-fast5.yaml"
    file.write_text(printed(capsys, "digits-fast5"))
    assert load_recipe(file) == load_recipe("digits-fast5")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["synthesis.stepz"], "did you mean synthesis.steps?"),
        (["bank", "--sweeps"], "remove --sweeps and --tables"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert cli.run(["recipes", *words]) == 2
    assert message in capsys.readouterr().err
