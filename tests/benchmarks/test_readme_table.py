from __future__ import annotations

import csv

import pytest

from benchmarks import readme_table, speedup
from fastdfkd.recipe import load_recipe

README = readme_table.ROOT / "README.md"


def test_the_readme_shows_what_the_committed_tables_hold() -> None:
    text = README.read_text(encoding="utf-8")
    assert readme_table.block() in text, "run python -m benchmarks.readme_table"
    assert text.count(readme_table.BEGIN) == 1


@pytest.mark.parametrize("data", speedup.SETTINGS)
def test_the_tables_are_whole(data: str) -> None:
    """Every setting, three seeds each, of one clean commit; of recipes that still ship as run."""
    with (speedup.RESULTS / f"speedup-{data}" / "runs.csv").open(encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    settings = [f"{data}-deep-inversion", *speedup.SETTINGS[data]]
    assert [run["setting"] for run in runs] == [name for name in settings for _ in range(3)]
    assert len({run["commit"] for run in runs}) == 1
    assert not any(run["commit"].endswith("-dirty") for run in runs)
    for run in runs:
        recipe = load_recipe(run["setting"])
        made = recipe.synthesis.rounds * recipe.synthesis.batch_size
        assert (int(run["images"]), int(run["updates"])) == (made, recipe.updates), (
            f"{run['setting']} has changed since: run python -m benchmarks.speedup"
        )
