"""The weight board: where the newest student and the shared generator hang for all to read.

The trainer publishes; synthesizers look before each batch (`begin`) and say when they are done
(`finish`). Publishing never makes a batch in the making staler than `max_staleness` versions: a
version that would is turned away, and the trainer offers a newer one later.

With several synthesizers the shared generator lives here: `finish` brings a batch's meta-update,
which is applied at once (`async`) or when its wave is whole (`lockstep`), in round order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray


@dataclass(frozen=True)
class News:
    """What a synthesizer needs before a batch; a reference is None where it has the newest."""

    student_version: int
    student: list[Any] | None
    generator_version: int
    generator: list[Any] | None


@ray.remote(num_cpus=0)
class WeightBoard:
    """Versions, references to weights, and the progress rows on their way to the driver."""

    def __init__(self, max_staleness: int | None, wave: int, meta: Any = None):
        self.max_staleness, self.wave = max_staleness, wave
        self.meta = meta
        self.experiment: list[Any] = []
        self.student_version = -1
        self.student: list[Any] | None = None
        self.generator: list[Any] | None = None
        self.generator_on_show = -1
        self.in_use: dict[int, int] = {}
        self.wave_updates: dict[int, Any] = {}
        self.turned_away = 0
        self.rows: list[dict[str, float]] = []
        self.outcome: dict[str, Any] | None = None

    def keep(self, experiment: list[Any]) -> None:
        """Keep the reference to the run's parts for synthesizers that start, or start again."""
        self.experiment = experiment

    def parts(self) -> list[Any]:
        """What `keep` was given."""
        return self.experiment

    def publish(self, weights: Mapping[str, Any]) -> int:
        """Hang up a newer student, unless a batch in the making would become too stale.

        Args:
            weights: state dict as numpy arrays, passed by value so that it outlives its sender.

        Returns:
            The newest version's number; 0 is the initial student.
        """
        oldest = min(self.in_use.values(), default=self.student_version)
        limit = self.max_staleness
        if limit is not None and self.student_version + 1 - oldest > limit:
            self.turned_away += 1
            return self.student_version
        self.student = [ray.put(weights)]
        self.student_version += 1
        return self.student_version

    def begin(
        self, synthesizer: int, round: int, student_version: int, generator_version: int
    ) -> News:
        """The newest weights, where they are not the ones the synthesizer has."""
        self.in_use[synthesizer] = self.student_version
        newest = generator_version
        if self.meta:
            self.meta.begin(round)
            newest = self.meta.version
            if self.generator_on_show != newest:
                self.generator = [ray.put(self.meta.shared_state())]
                self.generator_on_show = newest
        return News(
            self.student_version,
            self.student if self.student_version != student_version else None,
            newest,
            self.generator if newest != generator_version else None,
        )

    def finish(self, synthesizer: int, update: Any = None) -> int:
        """A batch is done: take its meta-update; returns its student's staleness in versions."""
        if self.meta and update is not None:
            self.wave_updates[update.round] = update
            self._learn(update.round)
        return self.student_version - self.in_use.pop(synthesizer, self.student_version)

    def abandon(self, synthesizer: int) -> None:
        """A synthesizer died in the middle of a batch."""
        self.in_use.pop(synthesizer, None)

    def post(self, row: dict[str, float]) -> None:
        """The trainer's progress, for the driver."""
        self.rows.append(row)

    def complete(self, outcome: dict[str, Any]) -> None:
        """The trainer's last word: figures and the final student's weights."""
        self.outcome = outcome

    def collect(self) -> list[dict[str, float]]:
        """Progress rows since the last call."""
        rows, self.rows = self.rows, []
        return rows

    def final(self) -> dict[str, Any] | None:
        """What `complete` left, or None if the trainer never finished."""
        return self.outcome

    def _learn(self, round: int) -> None:
        first = round // self.wave * self.wave
        whole = range(first, min(first + self.wave, self.meta.section.rounds))
        if all(number in self.wave_updates for number in whole):
            self.meta.learn([self.wave_updates.pop(number) for number in whole])
