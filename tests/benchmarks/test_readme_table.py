from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import readme_table, speedup
from fastdfkd.comparison.records import Comparison, RunRecord
from fastdfkd.comparison.table import comparison_table, run_table
from fastdfkd.data import DATASETS
from fastdfkd.recipe import load_recipe
from fastdfkd.runs.result import RunResult

MEASURED = [data for data in speedup.SETTINGS if (speedup.RESULTS / f"speedup-{data}").is_dir()]


@pytest.fixture
def results(tmp_path: Path, make_result: Callable[..., RunResult]) -> Path:
    """Result files as `benchmarks.speedup` writes them: digits, two settings, two seeds."""

    def run(label: str, seed: int, **figures: float) -> RunRecord:
        (tmp_path / "metrics.csv").write_text("updates,accuracy,end_to_end_seconds\n50,0.9,8\n")
        hardware = {"processor": "abacus", "cores": 2, "gpus": []}
        result = make_result(recipe=label, seed=seed, hardware=hardware, commit="c" * 40, **figures)
        images = DATASETS["digits"][0]
        return RunRecord(label=label, result=result, images=images, folder=tmp_path, reused=False)

    comparison = Comparison(
        reference="slow",
        runs={
            "slow": [run("slow", s, images=32, synthesis_seconds=64.0) for s in (0, 1)],
            "quick": [
                run("quick", 0, accuracy=0.9, synthesis_seconds=10.0),
                run("quick", 1, accuracy=0.8, synthesis_seconds=8.0),
            ],
        },
        target_accuracy=0.5,
        title="",
    )
    folder = tmp_path / "speedup-digits"
    folder.mkdir()
    comparison_table(comparison).to_csv(folder / "table.csv", index=False)
    run_table(comparison).to_csv(folder / "runs.csv", index=False)
    return tmp_path


def test_a_table_has_data_set_hardware_and_commit(results: Path) -> None:
    lines = readme_table.block("README.md", results).splitlines()
    assert (lines[0], lines[-1]) == (readme_table.BEGIN, readme_table.END)
    assert lines[2] == (
        "**digits**: teacher 99.8%; abacus, 2 cores, GPUs: none; commit cccccccccccc; mean ± "
        "standard deviation over 2 seeds "
        "([every figure](benchmarks/results/speedup-digits/table.md)):"
    )
    # 2 s an image times 100 images, over 10 s and 8 s
    assert "| quick **10x** | 85.0 % ± 7.1 % | 100 | 90 ms | 22x ± 3.5x |" in lines[7]
    assert lines[6].startswith("| slow | 97.0 % ± 0.0 % | 32 | 2.00 s | 1.0x ± 0.00x |")
    assert "The reference made 32 images only." in lines[9]
    assert "](docs/measuring.md#" in lines[9]


def test_links_are_relative_to_the_page_and_unmeasured_data_is_left_out(results: Path) -> None:
    text = readme_table.block("docs/results.md", results)
    assert "(../benchmarks/results/speedup-digits/table.md)" in text
    assert "](measuring.md#" in text
    assert "glyphs" not in text


@pytest.mark.parametrize("page", readme_table.PAGES)
def test_a_page_contains_the_committed_tables(page: str) -> None:
    text = (readme_table.ROOT / page).read_text(encoding="utf-8")
    assert readme_table.block(page) in text, "run python -m benchmarks.readme_table"


@pytest.mark.parametrize("data", MEASURED)
def test_the_committed_tables_are_complete(data: str) -> None:
    """All settings with three seeds each, from one clean commit and the shipped recipes."""
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
