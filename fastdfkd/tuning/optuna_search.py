"""Optuna as a Ray Tune `Searcher`: conditional spaces, several seeds per point, two objectives.

Tune's own OptunaSearch has two limits. It accepts a conditional space only as a function, and then
cannot add the finished points of an interrupted sweep. It does not support several seeds per point.
Here each point is suggested once per seed. Optuna gets the mean when the last seed has ended.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from fastdfkd.tuning.objective import Objective
from fastdfkd.tuning.parameter import Point
from fastdfkd.tuning.search_space import SearchSpace
from fastdfkd.tuning.trial_log import TrialRecord

log = logging.getLogger(__name__)


class OptunaSearcher(Searcher):
    """Suggests `{"trial": {"index", "seed", "point"}}`, `points * len(seeds)` times in total."""

    def __init__(
        self,
        space: SearchSpace,
        fixed: Mapping[str, Any],
        objectives: Sequence[Objective],
        *,
        points: int,
        seeds: Sequence[int],
        done: Sequence[TrialRecord],
        search_seed: int,
    ) -> None:
        """Create the Optuna study and add the trials that are done to it.

        Args:
            space: search space.
            fixed: the recipe's values by dotted key.
            objectives: one or two.
            points: number of points to try in total, including those that are done.
            seeds: seeds of each point.
            done: trials that are not run again.
            search_seed: seed of Optuna's sampler.
        """
        first = objectives[0]
        super().__init__(metric=first.name, mode=first.mode)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._fixed, self._objectives = space, fixed, tuple(objectives)
        self._points, self._seeds = points, tuple(seeds)
        self._study = optuna.create_study(
            directions=["maximize" if o.mode == "max" else "minimize" for o in objectives],
            sampler=optuna.samplers.TPESampler(seed=search_seed + len(done)),
        )
        self._pending: dict[int, Any] = {}
        """Optuna trials without a result yet, by the index of their point."""
        self._figures: dict[int, dict[int, Mapping[str, float] | None]] = {}
        """Figures by point and seed; None for a failed trial."""
        self._queue: list[tuple[int, int, Point]] = []
        """(index, seed, point) of the trials to suggest next."""
        self._running: dict[str, tuple[int, int]] = {}
        """(index, seed) by the trial id of Ray Tune."""
        self._unstarted: list[int] = []
        """Indices of the points that Optuna has not chosen yet."""
        self._restore_points(done)

    def suggest(self, trial_id: str) -> Any:
        """The next point and seed; `Searcher.FINISHED` after the last one."""
        if not self._queue:
            if not self._unstarted:
                return str(Searcher.FINISHED)
            self._queue_new_point()
        index, seed, point = self._queue.pop(0)
        self._running[trial_id] = (index, seed)
        return {"trial": {"index": index, "seed": seed, "point": point}}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Keep the figures of a trial; report the point to Optuna after its last seed."""
        index, seed = self._running.pop(trial_id)
        self._add_result(index, seed, None if error or not result else result)

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: a sweep is resumed from its trial log."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing, see `save`."""

    def _queue_new_point(self) -> None:
        trial = self._study.ask()
        index = self._unstarted.pop(0)
        point = self._space.resolve(lambda parameter: parameter.suggest(trial), self._fixed)
        self._pending[index] = trial
        self._queue += [(index, seed, point) for seed in self._seeds]

    def _add_result(self, index: int, seed: int, figures: Mapping[str, float] | None) -> None:
        by_seed = self._figures.setdefault(index, {})
        by_seed[seed] = figures
        if len(by_seed) < len(self._seeds):
            return
        successes = [figures for figures in by_seed.values() if figures is not None]
        if not successes:
            self._study.tell(self._pending.pop(index), state=TrialState.FAIL)
            return
        means = [sum(f[o.name] for f in successes) / len(successes) for o in self._objectives]
        self._study.tell(self._pending.pop(index), means)

    def _restore_points(self, done: Sequence[TrialRecord]) -> None:
        """Add the points of an interrupted sweep to the study; queue the seeds they still lack."""
        started: dict[int, list[TrialRecord]] = {}
        for record in done:
            started.setdefault(record.index, []).append(record)
        for index in sorted(started):
            point = started[index][0].point
            self._study.enqueue_trial(point)
            trial = self._study.ask()
            self._pending[index] = trial
            self._space.resolve(lambda parameter, t=trial: parameter.suggest(t), self._fixed)
            results = {record.seed: record.figures for record in started[index]}
            missing = [seed for seed in self._seeds if seed not in results]
            self._queue += [(index, seed, point) for seed in missing]
            for seed, figures in results.items():
                self._add_result(index, seed, figures)
        self._unstarted = [index for index in range(self._points) if index not in started]
