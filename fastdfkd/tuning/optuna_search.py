"""Optuna behind Ray Tune's `Searcher`: conditional spaces, several seeds a point, two objectives.

Tune's own OptunaSearch takes conditional spaces only as a function, and then cannot be told of
points that an interrupted sweep has finished; nor does it know of seeds. A point is suggested
once for each seed, and Optuna is told the mean when the last of them has ended.
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


class OptunaPoints(Searcher):
    """Suggests `{"trial": {"index", "seed", "point"}}`, `points * len(seeds)` times in all."""

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
        """Learn from what is done, and go on.

        Args:
            space: to search.
            fixed: the recipe's flat values.
            objectives: one or two.
            points: to try in all, those that are done included.
            seeds: of each point.
            done: trials that are not run again.
            search_seed: of Optuna's own draws.
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
        self._open: dict[int, Any] = {}
        """Points that Optuna waits for, by index."""
        self._ended: dict[int, dict[int, Mapping[str, float] | None]] = {}
        """Figures by point and seed; None of a failed trial."""
        self._queue: list[tuple[int, int, Point]] = []
        self._running: dict[str, tuple[int, int]] = {}
        self._left: list[int] = []
        """Points that have not been begun."""
        self._take_in(done)

    def suggest(self, trial_id: str) -> Any:
        """The next point and seed, or FINISHED."""
        if not self._queue:
            if not self._left:
                return str(Searcher.FINISHED)
            self._ask()
        index, seed, point = self._queue.pop(0)
        self._running[trial_id] = (index, seed)
        return {"trial": {"index": index, "seed": seed, "point": point}}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Keep a trial's figures, and tell Optuna when all seeds of the point have ended."""
        index, seed = self._running.pop(trial_id)
        self._end(index, seed, None if error or not result else result)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the trial log is what a sweep is resumed from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as in `save`."""

    def _ask(self) -> None:
        trial = self._study.ask()
        index = self._left.pop(0)
        point = self._space.resolve(lambda parameter: parameter.suggest(trial), self._fixed)
        self._open[index] = trial
        self._queue += [(index, seed, point) for seed in self._seeds]

    def _end(self, index: int, seed: int, figures: Mapping[str, float] | None) -> None:
        ended = self._ended.setdefault(index, {})
        ended[seed] = figures
        if len(ended) < len(self._seeds):
            return
        found = [figures for figures in ended.values() if figures is not None]
        if not found:
            self._study.tell(self._open.pop(index), state=TrialState.FAIL)
            return
        values = [sum(f[o.name] for f in found) / len(found) for o in self._objectives]
        self._study.tell(self._open.pop(index), values)

    def _take_in(self, done: Sequence[TrialRecord]) -> None:
        """Points that were begun: asked for again as they were, with the seeds that are left."""
        begun: dict[int, list[TrialRecord]] = {}
        for record in done:
            begun.setdefault(record.index, []).append(record)
        for index in sorted(begun):
            point = begun[index][0].point
            self._study.enqueue_trial(point)
            trial = self._study.ask()
            self._open[index] = trial
            self._space.resolve(lambda parameter, t=trial: parameter.suggest(t), self._fixed)
            seen = {record.seed: record.figures for record in begun[index]}
            left = [seed for seed in self._seeds if seed not in seen]
            self._queue += [(index, seed, point) for seed in left]
            for seed, figures in seen.items():
                self._end(index, seed, figures)
        self._left = [index for index in range(self._points) if index not in begun]
