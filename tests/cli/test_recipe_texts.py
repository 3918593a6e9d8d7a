"""The command `recipes`, with and without a key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fastdfkd.cli import commands as cli
from fastdfkd.recipe import load_recipe
from fastdfkd.tuning.search_space import load_space


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
    assert output.count("    default  ") == 5
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


def test_recipes_are_listed_sample_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines]
    first_of_the_paper = min(names.index(name) for name in names if name.startswith("cifar"))
    assert {"digits-fast5", "glyphs-fast5"} <= set(names[:first_of_the_paper])
    assert len(names) >= 35
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines), "each has a description"


def test_recipes_are_listed_as_on_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Commit 083f766 wrote `golden/recipes.txt`; newer recipes were added since."""
    assert cli.run(["recipes"]) == 0
    expected = Path(__file__).parents[1] / "golden" / "recipes.txt"
    assert capsys.readouterr().out == expected.read_text(encoding="utf-8")


def test_the_search_spaces_of_sweeps_are_listed(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["recipes", "--sweeps"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in lines] == [
        "cmi",
        "dafl",
        "deep-inversion",
        "dfad",
        "dfq",
        "learning-rates",
        "loss-weights",
        "nayer",
        "shapes",
        "stage-maps",
        "steps",
        "steps-and-meta-lr",
        "zskt",
    ]
    assert all(len(description) > 10 for _, description in lines)
    for name in ("learning-rates", "steps"):
        assert load_space(name, load_recipe("digits-fast5")).parameters


def test_recipes_into_a_closed_pipe(tmp_path: Path) -> None:
    line = f"{sys.executable} -c 'from fastdfkd.cli import main; main()' recipes | head -1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_the_recipes_of_the_tables_are_listed_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["recipes", "--tables"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert "cifar100-vgg11-resnet18-dfq" in names
    assert not any(name.startswith("digits") or name.endswith("fast5") for name in names)
