"""START HERE for speed-ups: settings against a reference, over seeds, with everything shown.

run what is missing (or take an experiment's runs) -> table -> pictures -> report -> MLflow
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastdfkd import tracking
from fastdfkd.recipe import Overrides, Recipe, load_recipe
from fastdfkd.run_folder import claimed, write_text
from fastdfkd.tracking import ParentRun
from fastdfkd.tracking.store import open_store, store_uri
from fastdfkd.tuning.measured import Measured, all_of, find_same

if TYPE_CHECKING:
    from fastdfkd.trainers.teacher import Teacher

log = logging.getLogger(__name__)
Say = Callable[[str], None]
COMPARISON_FILES = (
    "table.md",
    "table.csv",
    "runs.csv",
    "report.html",
    "accuracy_vs_synthesis.png",
    "accuracy_vs_end_to_end.png",
    "time.png",
    "samples.png",
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs of several settings; every setting has the reference's seeds, or fewer."""

    reference: str
    """Label of the 1x."""
    runs: dict[str, list[Measured]]
    """By label, in the order of the table; runs in the order of their seeds."""
    goal: float
    """The named accuracy, 0 to 1."""
    title: str


def compare(
    sources: Sequence[str | Path | Recipe],
    reference: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    seeds: int = 3,
    goal: float | None = None,
    out: str | Path | None = None,
    address: str | None = None,
    say: Say = lambda _: None,
) -> tuple[Comparison, Path]:
    """Run what is missing of every recipe with every seed, compare, and write the report.

    Args:
        sources: recipes to compare with the reference.
        reference: the 1x; it is run for real, on as many images as it says.
        overrides: applied to all of them.
        seeds: runs of each, with the recipe's seed and the ones after it.
        goal: the named accuracy; unset: the lowest mean accuracy of all, in whole percents.
        out: folder; unset: `runs/compare-<reference>-<time>/`.
        address: Ray cluster to join.
        say: told a line a run.

    Raises:
        ValueError: recipes with the same name, or of different data or teachers.
    """
    recipes = _recipes(sources, reference, overrides)
    _check_goal(goal)
    if seeds < 1:
        raise ValueError(f"--seeds: expected a number at least 1, got {seeds}")
    first = next(iter(recipes.values()))
    settings = first.tracking
    name = f"compare {first.name}"
    from fastdfkd.platform import cluster
    from fastdfkd.running import obtain_teacher, warm_up

    with (
        claimed(f"compare-{first.name}", out, files=COMPARISON_FILES) as folder,
        cluster.connect(address, partial(warm_up, first)),
        ParentRun(name, experiment=settings.experiment, uri=settings.uri) as parent,
    ):
        teacher = obtain_teacher(first, progress=True)
        runs: dict[str, list[Measured]] = {}
        for label, recipe in recipes.items():
            seeded = [
                load_recipe(recipe, {"seed": recipe.seed + number}) for number in range(seeds)
            ]
            runs[label] = [_measure(label, one, teacher, folder, parent, say) for one in seeded]
        comparison = Comparison(
            reference=first.name, runs=runs, goal=_goal(goal, runs), title=f"Against {first.name}"
        )
        _report(comparison, folder, parent)
    return comparison, folder


def compare_experiment(
    experiment: str,
    reference: str,
    *,
    goal: float | None = None,
    out: str | Path | None = None,
) -> tuple[Comparison, Path]:
    """Compare the finished runs that an MLflow experiment holds; nothing is run.

    Runs of other data or of another teacher than the newest run of the reference are left out.

    Args:
        experiment: its name.
        reference: name of the recipe that is the 1x.
        goal: as in `compare`.
        out: as in `compare`.

    Raises:
        ValueError: the experiment holds no finished run of the reference, or of nothing else.
    """
    _check_goal(goal)
    with claimed(f"compare-{reference}", out, files=COMPARISON_FILES) as folder:
        return _experiment_compared(experiment, reference, goal, folder), folder


def _experiment_compared(
    experiment: str, reference: str, goal: float | None, folder: Path
) -> Comparison:
    """`compare_experiment` in a folder that is held."""
    store = open_store(store_uri(None), experiment)
    runs: dict[str, list[Measured]] = {reference: []}
    for run in _comparable(all_of(store, folder / "runs"), reference):
        runs.setdefault(run.label, []).append(run)
    if not runs[reference] or len(runs) < 2:
        raise ValueError(
            f"experiment {experiment} in {store.uri} holds {len(runs[reference])} finished runs of "
            f"{reference} and others of {sorted(set(runs) - {reference}) or 'nothing'}: expected "
            "both; run `fastdfkd compare RECIPE... --reference RECIPE` to make them"
        )
    with ParentRun(f"compare {reference}", experiment=experiment) as parent:
        comparison = Comparison(
            reference=reference,
            runs=runs,
            goal=_goal(goal, runs),
            title=f"Experiment {experiment}, against {reference}",
        )
        _report(comparison, folder, parent)
    return comparison


def _comparable(newest_first: Sequence[Measured], reference: str) -> list[Measured]:
    """Runs of the reference's data and teacher, in the order of their seeds."""
    kinds = [(run.data, run.result.teacher_digest) for run in newest_first]
    wanted = next(
        (kind for kind, run in zip(kinds, newest_first, strict=True) if run.label == reference),
        None,
    )
    found = [run for kind, run in zip(kinds, newest_first, strict=True) if kind == wanted]
    if wanted and (left_out := len(newest_first) - len(found)):
        log.warning(
            "%d runs of other data or of another teacher than %s are left out", left_out, reference
        )
    return sorted(found or newest_first, key=lambda run: run.result.seed)


def _recipes(
    sources: Sequence[str | Path | Recipe], reference: str | Path | Recipe, overrides: Overrides
) -> dict[str, Recipe]:
    """By name, the reference first; naming the reference among the others too is no mistake."""
    first = load_recipe(reference, overrides)
    recipes = {first.name: first}
    for source in sources:
        recipe = load_recipe(source, overrides)
        known = recipes.setdefault(recipe.name, recipe)
        if known != recipe:
            raise ValueError(f"two different recipes are named {recipe.name}: rename one")
        if recipe.data.name != first.data.name or recipe.teacher != first.teacher:
            raise ValueError(
                f"{recipe.name} has other data or another teacher than the reference {first.name}: "
                "a comparison needs one of each"
            )
    if len(recipes) < 2:
        raise ValueError("a comparison needs at least one RECIPE besides the reference")
    return recipes


def _measure(
    label: str, recipe: Recipe, teacher: Teacher, folder: Path, parent: ParentRun, say: Say
) -> Measured:
    from fastdfkd.platform import placement
    from fastdfkd.running import execute

    directory = folder / "runs" / f"{label}-seed{recipe.seed}"
    store = open_store(parent.uri, recipe.tracking.experiment)
    found = find_same(store, placement.fitted_here(recipe), teacher, label, directory)
    if found is None:
        with claimed(recipe.name, directory, overwrite=True):
            result = execute(
                recipe,
                directory,
                parent_run_id=parent.run_id,
                progress=True,
                run_name=directory.name,
            )
        found = Measured(
            label=label, result=result, data=recipe.data.name, folder=directory, reused=False
        )
    result = found.result
    say(
        f"{directory.name}: accuracy {result.accuracy:.1%}, synthesis "
        f"{result.synthesis_seconds:.1f} s, end to end {result.end_to_end_seconds:.1f} s"
        f"{' (re-used)' if found.reused else ''}"
    )
    return found


def _check_goal(goal: float | None) -> None:
    if goal is not None and not 0 < goal < 1:
        raise ValueError(f"--accuracy: expected a share between 0 and 1, got {goal}")


def _goal(goal: float | None, runs: dict[str, list[Measured]]) -> float:
    if goal is not None:
        return goal
    means = [sum(r.result.accuracy for r in group) / len(group) for group in runs.values()]
    return int(min(means) * 100) / 100


def _report(comparison: Comparison, folder: Path, parent: ParentRun) -> None:
    """Write tables, pictures and `report.html`, and log them."""
    from fastdfkd.tuning.comparison_pictures import draw_all
    from fastdfkd.tuning.comparison_table import comparison_table, markdown, run_table, words
    from fastdfkd.tuning.html_report import render

    tracking.check_reachable(parent.uri)
    table = comparison_table(comparison)
    draw_all(comparison, folder)
    write_text(folder / "table.csv", table.to_csv(index=False))
    write_text(folder / "runs.csv", run_table(comparison).to_csv(index=False))
    notes = words(comparison, table)
    text = "\n\n".join(notes)
    write_text(
        folder / "table.md", f"# {comparison.title}\n\n{markdown(comparison, table)}\n{text}\n"
    )
    write_text(folder / "report.html", render(comparison, table, notes, folder))
    figures = {
        f"{row['setting']}.{name}": float(row[name])
        for row in table.to_dict("records")
        for name in ("accuracy", "synthesis_speedup", "end_to_end_speedup")
    }
    files = [folder / name for name in COMPARISON_FILES if (folder / name).is_file()]
    parent.log(metrics=figures, artifacts=files)
