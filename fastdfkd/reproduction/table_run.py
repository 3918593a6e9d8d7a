"""START HERE: run the cells of a table, and write them beside the published figures.

    for each teacher: a sweep over the recipes that have it -> outcomes -> table

What one teacher's cells lack, such as its images, does not end the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fastdfkd.recipe import Recipe
from fastdfkd.reproduction.layout import write_results
from fastdfkd.reproduction.outcomes import Outcome, outcomes
from fastdfkd.reproduction.request import TableRun
from fastdfkd.tuning.plan import Sweep
from fastdfkd.tuning.recipe_sweep import recipe_sweep
from fastdfkd.tuning.sweep import run_sweep
from fastdfkd.tuning.trial_log import TrialRecord

Say = Callable[[str], None]
_USER_ERRORS = (ValueError, OSError, FloatingPointError)
"""What a sweep raises if a file, a setting or the cluster is at fault."""
BUDGET = "the budget of {hours:g} h is spent: --resume {folder} goes on"


def run_table(
    run: TableRun,
    *,
    budget_hours: float | None = None,
    address: str | None = None,
    say: Say = lambda _: None,
) -> list[Outcome]:
    """Run what is not done of a table. Its files are written anew after each teacher's cells.

    Args:
        run: a new or an interrupted table whose folder is locked.
        budget_hours: hours after which no further run is started. Those that run then are
            finished. None: no limit.
        address: Ray cluster to join; None starts a local one.
        say: called with each progress message.

    Returns:
        The outcomes of all cells, in the order of the table.
    """
    deadline, reasons = None, dict[str, str]()
    if budget_hours is not None:
        deadline = time.monotonic() + 3600 * budget_hours
        spent = BUDGET.format(hours=budget_hours, folder=run.folder)
        reasons = dict.fromkeys(run.recipes, spent)

    def report(sweep: Sweep, records: Sequence[TrialRecord]) -> tuple[list[Path], dict[str, float]]:
        found = outcomes(run, reasons)
        return write_results(run, found), _figures(run, found, sweep.named)

    for folder, recipes in run.groups.items():
        if deadline is not None and time.monotonic() >= deadline:
            break
        try:
            run_sweep(
                recipe_sweep(recipes, run.request.seeds, folder),
                address=address,
                say=say,
                name=f"reproduce {run.request.table} {_teacher(recipes)}",
                report=report,
                deadline=deadline,
            )
        except _USER_ERRORS as error:
            reasons |= dict.fromkeys(recipes, str(error))
            say(f"{_teacher(recipes)}: {error}")
    found = outcomes(run, reasons)
    write_results(run, found)
    return found


def _teacher(recipes: Mapping[str, Recipe]) -> str:
    return next(iter(recipes.values())).teacher.model


def _figures(
    run: TableRun, found: Sequence[Outcome], recipes: Mapping[str, Recipe]
) -> dict[str, float]:
    """Figures of a sweep for MLflow: the table's figure, 0 to 1, and hours of each recipe."""
    figures = {}
    for outcome in found:
        name = outcome.cell.recipe
        if name in recipes and outcome.accuracy is not None and outcome.mean_hours is not None:
            figures[f"{name}.{run.table.figure}"] = outcome.accuracy / 100
            figures[f"{name}.synthesis_hours"] = outcome.mean_hours
    return figures
