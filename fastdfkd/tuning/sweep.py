"""START HERE: one sweep, from the recipe and the space to the findings.

    check the space -> teacher, once -> trials under Ray Tune -> ledger -> findings

A trial is one point of the space with one seed. Every point gets the same seeds.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastdfkd.folder_lock import held
from fastdfkd.recipe import Overrides, Recipe, RecipeError, load_recipe
from fastdfkd.run_folder import claimed, write_text
from fastdfkd.tuning.dimension import Point, SpaceError
from fastdfkd.tuning.ledger import SWEEP_FILES, Ledger, Options, TrialRecord
from fastdfkd.tuning.naming import TrialNames
from fastdfkd.tuning.objective import parse_objectives
from fastdfkd.tuning.search_space import SearchSpace, find_space, load_space
from fastdfkd.tuning.sweep_run import SweepRun

Say = Callable[[str], None]
_DRAWS_OF_A_POINT = 100


@dataclass(frozen=True)
class Sweep:
    """A sweep that may be run: everything in it has been checked."""

    recipe: Recipe
    space: SearchSpace
    options: Options
    points: list[Point] | None
    """What will be tried, in order; None: Optuna chooses as it learns."""
    folder: Path

    @property
    def seeds(self) -> list[int]:
        """The same for every point, from the recipe's own upwards."""
        return [self.recipe.seed + number for number in range(self.options.seeds)]

    @property
    def names(self) -> TrialNames:
        """What its points and trials are called."""
        return TrialNames.of(self.space, self.options.seeds)

    @property
    def trials(self) -> int:
        """Runs in all."""
        return self.options.trials * self.options.seeds


@contextmanager
def new_sweep(
    source: str | Path | Recipe,
    space_source: str | Path,
    overrides: Overrides,
    options: Options,
    out: str | Path | None,
) -> Iterator[Sweep]:
    """Check recipe, space and options, and hold the sweep's folder for a block.

    Raises:
        RecipeError: the recipe cannot be used.
        FolderInUseError: another driver works in `out`.
        ValueError: the space, the options or `out` cannot; nothing has been started.
    """
    recipe = load_recipe(source, overrides)
    sweep = _checked(recipe, load_space(space_source, recipe), options, Path())
    with claimed(f"sweep-{recipe.name}", out, files=(*SWEEP_FILES, "trials")) as folder:
        write_text(folder / "recipe.yaml", recipe.to_yaml())
        write_text(folder / "space.yaml", find_space(space_source).read_text(encoding="utf-8"))
        Ledger(folder).save_options(sweep.options)
        yield replace(sweep, folder=folder)


@contextmanager
def interrupted_sweep(directory: str | Path) -> Iterator[Sweep]:
    """The sweep in a folder, to be gone on with, its folder held for a block.

    Raises:
        FolderInUseError: the sweep goes on in another process.
        ValueError: the folder holds no sweep, or a damaged one.
    """
    folder = Path(directory).expanduser().absolute()
    ledger = Ledger(folder)
    ledger.options()  # which a folder without a sweep does not have
    with held(folder):
        recipe = load_recipe(folder / "recipe.yaml")
        space = load_space(folder / "space.yaml", recipe)
        yield _checked(recipe, space, ledger.options(), folder)


def run_sweep(sweep: Sweep, *, address: str | None = None, say: Say = lambda _: None) -> Path:
    """Run the trials that have not ended, then write and record what was found.

    Args:
        sweep: new or interrupted, its folder held.
        address: Ray cluster to join.
        say: told a line now and then.

    Returns:
        The sweep's folder; `findings.write_findings` says what is in it.
    """
    from fastdfkd.tuning.findings import write_findings

    ledger = Ledger(sweep.folder)
    ledger.mend()
    settings = sweep.recipe.tracking
    name = f"sweep {sweep.recipe.name} {sweep.space.name}"
    with SweepRun(
        name, sweep.options.parent_run_id, experiment=settings.experiment, uri=settings.uri
    ) as parent:
        ledger.save_options(replace(sweep.options, parent_run_id=parent.run_id))
        _run_trials(sweep, ledger, parent, address, say)
        files, best = write_findings(sweep, ledger.records())
        parent.log(metrics=best, artifacts=files)
    return sweep.folder


def _run_trials(
    sweep: Sweep, ledger: Ledger, parent: SweepRun, address: str | None, say: Say
) -> None:
    from fastdfkd.data import cache_somewhere
    from fastdfkd.platform import cluster
    from fastdfkd.running import obtain_teacher
    from fastdfkd.tuning.tune_run import run_trials

    done = ledger.done()
    if done:
        say(f"{len(done)} of {sweep.trials} trials have ended before and are not repeated")
    if len(done) >= sweep.trials:
        return
    cache_somewhere(sweep.folder / "cache")
    teacher = obtain_teacher(sweep.recipe, progress=True)
    teacher.model.cpu()
    with _tune_settings(), cluster.connect(address):
        run_trials(sweep, ledger, teacher, parent, say)
    shutil.rmtree(sweep.folder / "ray_tune", ignore_errors=True)


def _checked(recipe: Recipe, space: SearchSpace, options: Options, folder: Path) -> Sweep:
    objectives = parse_objectives(options.objective)
    for name, value in (("trials", options.trials), ("seeds", options.seeds)):
        if value < 1:
            raise ValueError(f"--{name}: expected a number at least 1, got {value}")
    if len(objectives) > 1 and options.scheduler == "asha":
        raise ValueError("--scheduler asha ranks trials by one figure: name one --objective")
    if options.scheduler == "asha" and recipe.platform.evaluations < 2:
        raise ValueError(
            "--scheduler asha stops trials at an evaluation before the last: set "
            f"platform.evaluations to 2 or more, now {recipe.platform.evaluations}"
        )
    points = _points(recipe, space, options)
    if points is not None:
        options = replace(options, trials=len(points))
    return Sweep(recipe, space, options, points, folder)


def _points(recipe: Recipe, space: SearchSpace, options: Options) -> list[Point] | None:
    """Points of a grid or a random search, each tried on the recipe."""
    if options.search == "optuna":
        return None
    fixed = recipe.flat()
    if options.search == "grid":
        points = space.grid(fixed)
    else:
        points = list(_distinct(space, fixed, options.trials, recipe.seed))
    for point in points:
        try:
            load_recipe(recipe, point)
        except RecipeError as error:
            raise SpaceError(f"{space.name}: the point {point} is refused. {error}") from None
    return points


def _distinct(space: SearchSpace, fixed: dict[str, Any], count: int, seed: int) -> Iterator[Point]:
    """Up to `count` different random points; fewer where the space has no more."""
    source, seen = random.Random(seed), []
    for _ in range(count):
        for _ in range(_DRAWS_OF_A_POINT):
            point = space.resolve(lambda dimension: dimension.draw(source), fixed)
            if point not in seen:
                seen.append(point)
                yield point
                break


@contextmanager
def _tune_settings() -> Iterator[None]:
    """Ray Tune's settings, which it reads from the environment, for a block."""
    wanted = {
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_RESULT_BUFFER_LENGTH": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are in the ledger
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def remaining(sweep: Sweep, done: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Trials of a grid or random search that have not ended, seed by seed within a point."""
    assert sweep.points is not None
    ended = {(record.index, record.seed) for record in done}
    return [
        {"index": index, "seed": seed, "point": point}
        for index, point in enumerate(sweep.points)
        for seed in sweep.seeds
        if (index, seed) not in ended
    ]
