from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastdfkd import api
from fastdfkd.comparison.compare import compare
from fastdfkd.comparison.sources import open_source, read_settings
from fastdfkd.comparison.tracked_runs import compare_experiment
from fastdfkd.recipe import Recipe, load_recipe

ACCEPTED = r"a recipe's name .* file, the folder .* MLflow run"
KINDS = ("name", "file", "folder", "MLflow id", "MLflow link")


@pytest.fixture
def recipe(tiny_recipe: Callable[..., Recipe]) -> Recipe:
    return tiny_recipe(name="ref", tracking={"experiment": "sources"})


@pytest.fixture
def run(workplace: Path, platform: Any, recipe: Recipe) -> Path:
    """A finished run."""
    api.distill(recipe, out="done")
    (workplace / "ref.yaml").write_text(recipe.to_yaml())
    return workplace / "done"


def sources(run: Path) -> dict[str, str]:
    run_id = json.loads((run / "state.json").read_text())["mlflow_run_id"]
    named = ("digits-fast2", "ref.yaml", "done", run_id, f"runs:/{run_id}")
    return dict(zip(KINDS, named, strict=True))


def test_every_kind_of_source_is_opened(run: Path, recipe: Recipe) -> None:
    opened = {kind: open_source(source, (), "--reference") for kind, source in sources(run).items()}
    assert opened["name"].recipe == load_recipe("digits-fast2")
    assert opened["file"].recipe == recipe
    assert {kind for kind, source in opened.items() if source.result is None} == {"name", "file"}
    for kind in KINDS[2:]:
        result = opened[kind].result
        assert result is not None
        assert result.accuracy == 0.9
        folder = opened[kind].fetch(Path("fetched") / kind)
        assert (folder / "metrics.csv").read_text() == (run / "metrics.csv").read_text()
    assert opened["folder"].fetch(Path("fetched")) == run, "files in a folder are not copied"


@pytest.mark.usefixtures("no_pictures")
def test_a_finished_run_can_be_the_reference(run: Path, recipe: Recipe, platform: Any) -> None:
    faster = load_recipe(recipe, {"name": "faster", "synthesis.steps": 1})
    comparison, folder = compare([faster], sources(run)["MLflow link"], seeds=2, out="out")
    assert comparison.reference == "ref"
    assert [record.reused for record in comparison.runs["ref"]] == [True]
    assert len(comparison.runs["faster"]) == 2
    assert "| ref (1x) | 1 (1 re-used) |" in (folder / "table.md").read_text()


@pytest.mark.usefixtures("no_pictures")
def test_finished_runs_need_no_cluster_and_settings_of_one_name_get_distinct_labels(
    run: Path, recipe: Recipe, platform: Any
) -> None:
    api.distill(recipe, {"synthesis.steps": 2}, out="two")
    api.distill(recipe, {"synthesis.steps": 2, "seed": 1}, out="again")
    started = len(platform.addresses)
    comparison, _ = compare(["two", "again", "two", "done"], "done", out="out")
    assert {label: len(runs) for label, runs in comparison.runs.items()} == {
        "ref steps=5": 1,
        "ref steps=2": 2,
    }
    assert len(platform.addresses) == started


def test_a_run_of_another_teacher_is_refused_before_anything_is_run(
    run: Path, recipe: Recipe, platform: Any
) -> None:
    shutil.copytree(run, "other")
    facts = json.loads(Path("other/result.json").read_text())
    Path("other/result.json").write_text(json.dumps(facts | {"teacher_digest": "0" * 64}))
    edited = load_recipe(recipe, {"synthesis.steps": 3})
    Path("other/recipe.yaml").write_text(edited.to_yaml())
    started = len(platform.addresses)
    with pytest.raises(ValueError, match=r"another teacher.* \(--reference\)"):
        compare(["other"], "done", out="out")
    with pytest.raises(ValueError, match="comparison needs one teacher"):
        compare([load_recipe(recipe, {"name": "new"})], "other", out="out")
    assert list(Path().glob("out/runs/new*")) == []
    assert len(platform.addresses) <= started + 1


def test_recipes_that_are_equal_with_the_overrides_are_named(run: Path, recipe: Recipe) -> None:
    slow, fast = (
        load_recipe(recipe, {"name": name, "synthesis.steps": steps})
        for name, steps in (("slow", 9), ("fast", 1))
    )
    said: list[str] = []
    settings = read_settings([slow, fast, slow], "done", {"synthesis.steps": 2}, said.append)
    assert [setting.label for setting in settings] == ["ref", "slow"]
    assert said == ["fast is left out: with KEY=VALUE it has the settings of slow"]
    finished = load_recipe("done/recipe.yaml", {"name": "slow"})
    with pytest.raises(ValueError, match=r"at least one RECIPE .*slow is not run: .* finished run"):
        read_settings([finished], "done", (), said.append)


def test_the_error_for_a_wrong_source_lists_all_that_is_accepted(run: Path) -> None:
    shutil.copytree(run, "damaged")
    Path("damaged/result.json").write_text('{"recipe": ')
    for wrong in ("digits-fast55", "no/such/folder", "runs:/none", "0" * 32, "."):
        for others, reference in ((["digits-fast2"], wrong), ([wrong], "done")):
            with pytest.raises(ValueError, match=ACCEPTED) as raised:
                compare(others, reference)
            assert wrong in str(raised.value)
            assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=r"damaged/result\.json: not readable as JSON"):
        compare(["digits-fast2"], "damaged")
    assert not Path("runs").exists()


@pytest.mark.usefixtures("no_pictures")
def test_an_experiment_takes_a_reference_of_any_kind(
    run: Path, recipe: Recipe, platform: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    api.distill(
        recipe, {"name": "two", "synthesis.steps": 2, "tracking.experiment": "own"}, out="2"
    )
    api.distill(
        recipe, {"name": "one", "synthesis.steps": 1, "tracking.experiment": "own"}, out="1"
    )
    capfd.readouterr()
    for number, source in enumerate(["two", "2", *list(sources(run).values())[2:]]):
        comparison, _ = compare_experiment("own", source, out=f"out{number}")
        assert comparison.reference == ("two" if number < 2 else "ref")
        assert {"one", "two"} <= set(comparison.runs)
    assert capfd.readouterr().err == "", "no progress bars where there is no terminal"
    with pytest.raises(
        ValueError, match=r"0 finished runs of nonsense .*'one', 'two'.* MLflow run"
    ):
        compare_experiment("own", "nonsense", out="none")
