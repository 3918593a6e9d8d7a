"""START HERE: one sweep, from the recipe and the search space to the report.

    validate -> connect -> train the teacher once -> run the trials with Ray Tune -> report

A trial is one point of the space with one seed. All points get the same seeds.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from fastdfkd.recipe import Overrides, Recipe, load_recipe
from fastdfkd.recipe.source_texts import given
from fastdfkd.runs.folder import claim_folder, write_text
from fastdfkd.runs.folder_lock import lock_folder
from fastdfkd.runs.source_texts import as_it_began, write_sources
from fastdfkd.tuning.plan import Sweep, plan_sweep
from fastdfkd.tuning.search_space import find_space, load_space
from fastdfkd.tuning.sweep_run import SweepRun
from fastdfkd.tuning.trial_log import SWEEP_FILES, Options, TrialLog, TrialRecord

Say = Callable[[str], None]
Report = Callable[[Sweep, Sequence[TrialRecord]], tuple[list[Path], dict[str, float]]]
"""Writes the report of a sweep; returns its files and its figures by name."""


@contextmanager
def new_sweep(
    source: str | Path | Recipe,
    space_source: str | Path,
    overrides: Overrides,
    options: Options,
    out: str | Path | None,
) -> Iterator[Sweep]:
    """Validate recipe, space and options, and lock the sweep's folder for the `with` block.

    Nothing is started.

    Raises:
        RecipeError: the recipe is not valid.
        FolderInUseError: another driver uses `out`.
        ValueError: the space, the options or `out` is not valid.
    """
    recipe = load_recipe(source, overrides)
    if not options.objective:
        from fastdfkd.experiment import compared_by

        options = replace(options, objective=compared_by(recipe))
    sweep = plan_sweep(recipe, load_space(space_source, recipe), options, Path())
    texts = sweep.source_texts()
    with (
        given(texts),
        claim_folder(f"sweep-{recipe.name}", out, files=(*SWEEP_FILES, "trials")) as folder,
    ):
        write_text(folder / "recipe.yaml", recipe.to_yaml())
        write_sources(texts, folder)
        write_text(folder / "space.yaml", find_space(space_source).read_text(encoding="utf-8"))
        TrialLog(folder).save_options(sweep.options)
        yield replace(sweep, folder=folder)


@contextmanager
def interrupted_sweep(directory: str | Path) -> Iterator[Sweep]:
    """Read an interrupted sweep to resume it, and lock its folder for the `with` block.

    Raises:
        FolderInUseError: another process runs the sweep.
        ValueError: the folder holds no sweep, or a damaged one.
    """
    folder = Path(directory).expanduser().absolute()
    trial_log = TrialLog(folder)
    trial_log.options()  # raises, before the lock file is made, if the folder holds no sweep
    with lock_folder(folder), as_it_began(folder):
        recipe = load_recipe(folder / "recipe.yaml")
        space = load_space(folder / "space.yaml", recipe)
        yield plan_sweep(recipe, space, trial_log.options(), folder)


def run_sweep(
    sweep: Sweep,
    *,
    address: str | None = None,
    say: Say = lambda _: None,
    name: str = "",
    report: Report | None = None,
    deadline: float | None = None,
) -> Path:
    """Run the trials that are not done, then write the report and log it to MLflow.

    Args:
        sweep: a new or an interrupted sweep whose folder is locked.
        address: Ray cluster to join; None starts a local one.
        say: called with each progress message.
        name: of the MLflow run; empty: after recipe and space.
        report: writes the report; unset: `write_sweep_report`.
        deadline: time of `time.monotonic` after which no trial of a list of points is started.

    Returns:
        The sweep's folder. `trial_log` and `sweep_report.write_sweep_report` list its files.
    """
    from fastdfkd.tuning.sweep_report import write_sweep_report

    trial_log = TrialLog(sweep.folder)
    trial_log.repair()
    settings = sweep.recipe.tracking
    name = name or f"sweep {sweep.recipe.name} {sweep.space.name}"
    with SweepRun(
        name, sweep.options.parent_run_id, experiment=settings.experiment, uri=settings.uri
    ) as parent:
        trial_log.save_options(replace(sweep.options, parent_run_id=parent.run_id))
        _run_trials(sweep, trial_log, parent, address, say, deadline)
        files, figures = (report or write_sweep_report)(sweep, trial_log.records())
        parent.log(metrics=figures, artifacts=files)
    return sweep.folder


def _run_trials(
    sweep: Sweep,
    trial_log: TrialLog,
    parent: SweepRun,
    address: str | None,
    say: Say,
    deadline: float | None,
) -> None:
    from fastdfkd.api.execution import obtain_teacher
    from fastdfkd.data import use_fallback_cache
    from fastdfkd.platform import cluster

    done = trial_log.done()
    if done:
        say(f"{len(done)} of {sweep.trials} trials are done already and are not run again")
    if len(done) >= sweep.trials:
        return
    use_fallback_cache(sweep.folder / "cache")
    with _tune_settings(), ExitStack() as connection:

        def before_work() -> None:
            connection.enter_context(cluster.connect(address))
            from fastdfkd.tuning.tune_run import check_places

            check_places(sweep)

        teacher = obtain_teacher(sweep.recipe, progress=True, before_work=before_work)
        teacher.model.cpu()
        from fastdfkd.tuning.tune_run import run_trials

        run_trials(sweep, trial_log, teacher, parent, say, deadline=deadline)
    shutil.rmtree(sweep.folder / "ray_tune", ignore_errors=True)


@contextmanager
def _tune_settings() -> Iterator[None]:
    """Set the environment variables that Ray Tune reads, for the `with` block."""
    variables = {
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_RESULT_BUFFER_LENGTH": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the trial log records failures
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
