"""The weight board: where the newest student and the shared generator hang for all to read.

The trainer publishes; synthesizers look before each batch (`begin`) and say when they are done
(`finish`), where that matters to anybody. In lock-step a batch begins with the student of the
paper's order, which may still be on its way: the trainer asks for the next batch before it
publishes. Publishing never makes a batch in the making staler than `max_staleness` versions: a
version that would is turned away, and the trainer offers a newer one later.

With several synthesizers the shared generator lives here: `finish` brings a batch's meta-update,
which is applied at once (`async`) or, with those of its wave in round order, before the next wave
(`lockstep`): until then a round can be made again with the generator that it was made with.

The board also takes in what a checkpoint is made of: synthesizers leave their state when it asks
for it, the trainer leaves its own (`save`), and the driver fetches and writes them (`collect`).
A board that was restarted is told by the driver what it last knew (`restore`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray

from fastdfkd.trainers.weights import packed, unpacked


@dataclass(frozen=True)
class News:
    """What a synthesizer needs before a batch; a reference is None where it has the newest."""

    student_version: int
    student: list[Any] | None
    generator: list[Any] | None
    leave_state: bool
    """Whether to bring the synthesizer's state with the batch."""
    hear_of_end: bool
    """Whether to call `finish`: not in lock-step with a generator of the synthesizer's own, where
    the board learns nothing from a batch and no newer student comes before its end."""


@dataclass(frozen=True)
class Progress:
    """What the driver fetches."""

    knows: bool
    """False: the board was restarted and has to be restored."""
    rows: list[dict[str, float]]
    checkpoints: list[dict[str, Any]]
    outcome: dict[str, Any] | None
    """What `complete` left."""


EARLY = "early"
"""Answer to a synthesizer whose student is still on its way: ask again."""


@ray.remote(num_cpus=0, max_restarts=-1)
class WeightBoard:
    """Versions, references to weights, and what is on its way to the driver."""

    def __init__(self, limiter: Any, max_staleness: int | None, checkpoint_every: int | None):
        self.limiter, self.max_staleness = limiter, max_staleness
        self.checkpoint_every = checkpoint_every
        self.knows = False
        self.experiment: list[Any] = []
        self.meta: Any = None
        self.student_version, self.student_updates = -1, 0
        self.student: list[Any] | None = None
        self.generator: list[Any] | None = None
        self.generator_on_show = -1
        self.in_use: dict[int, int] = {}
        self.given: dict[int, tuple[int, int]] = {}
        """Versions of student and generator that each synthesizer has from this board."""
        self.wave_updates: dict[int, Any] = {}
        self.learned: set[int] = set()
        """Rounds whose meta-update the shared generator has: one that is made again brings none."""
        self.synthesizers: dict[int, Any] = {}
        self.left: set[int] = set()
        """Synthesizers whose state is newer than what `restore` told."""
        self.trainer: Any = None
        self.turned_away = 0
        self.rows: list[dict[str, float]] = []
        self.checkpoints: list[dict[str, Any]] = []
        self.outcome: dict[str, Any] | None = None
        self.heard_out = False

    def restore(self, experiment: list[Any], state: Mapping[str, Any], meta: Any) -> None:
        """Become what the driver says: at the start, when a run is resumed, after a restart.

        Args:
            experiment: list of the reference to the run's parts, for whoever starts.
            state: `student` weights as arrays, their `version`, states of `synthesizers` by
                index, of the `trainer` and of the shared generator (`meta`) where there are any.
            meta: the shared `MetaGenerator` in its initial state, or None.
        """
        self.experiment, self.meta = experiment, meta
        if meta is not None and state.get("meta") is not None:
            meta.load_state_dict(unpacked(state["meta"]))
        self.synthesizers = dict(state.get("synthesizers", {}))
        self.trainer = state.get("trainer")
        self.student, self.student_version = [ray.put(state["student"])], state["version"]
        self.student_updates = self.trainer["distiller"]["updates"] if self.trainer else 0
        self.knows = True

    def parts(self, synthesizer: int | None = None) -> tuple[list[Any], Any] | None:
        """The run's parts, and the state that the synthesizer (or else the trainer) last left.

        None, as from other calls: the board has to be restored first, ask again.
        """
        if not self.knows:
            return None
        if synthesizer is None:
            return self.experiment, self.trainer
        self.given.pop(synthesizer, None)
        return self.experiment, self.synthesizers.get(synthesizer)

    def publish(self, weights: Mapping[str, Any], updates: int) -> int | None:
        """Hang up a newer student, unless a batch in the making would become too stale.

        One that is on show already may be offered again.

        Args:
            weights: state dict as numpy arrays, passed by value so that it outlives its sender.
            updates: that the student has had.

        Returns:
            The newest version's number; 0 is the initial student.
        """
        if not self.knows:
            return None
        if updates == self.student_updates:
            return self.student_version
        oldest = min(self.in_use.values(), default=self.student_version)
        limit = self.max_staleness
        if limit is not None and self.student_version + 1 - oldest > limit:
            self.turned_away += 1
            return self.student_version
        self.student, self.student_updates = [ray.put(weights)], updates
        self.student_version += 1
        return self.student_version

    def begin(self, synthesizer: int, round: int) -> News | str | None:
        """The newest weights, where they are not the ones the synthesizer has; or `EARLY`."""
        if not self.knows:
            return None
        if self.student_updates < self.limiter.student_for(round):
            return EARLY
        self.in_use[synthesizer] = self.student_version
        newest = -1
        if self.meta:
            first = self.limiter.wave_start(round)
            if self.limiter.lockstep and min(self.wave_updates, default=first) < first:
                self._learn_wave()
            self.meta.begin(first)
            newest = self.meta.version
            if self.generator_on_show != newest:
                self.generator = [ray.put(self.meta.shared_state())]
                self.generator_on_show = newest
        student, generator = self.given.get(synthesizer, (-1, -1))
        self.given[synthesizer] = self.student_version, newest
        every = self.checkpoint_every
        leave_state = bool(every and self.limiter.wave_crosses(round, every))
        return News(
            self.student_version,
            self.student if self.student_version != student else None,
            self.generator if newest != generator else None,
            leave_state,
            leave_state or self.meta is not None or not self.limiter.lockstep,
        )

    def finish(self, synthesizer: int, update: Any, state: Any) -> int | None:
        """A batch is done.

        Args:
            synthesizer: whose it is.
            update: its meta-update where the generator is shared, else None.
            state: of the synthesizer where `News.leave_state` asked for it, else None.

        Returns:
            Student versions between the one it used and the newest.
        """
        if not self.knows:
            return None
        if self.meta and update is not None and update.round not in self.learned:
            self.wave_updates[update.round] = update
            if not self.limiter.lockstep:
                self._learn_wave()
        if state is not None:
            self.synthesizers[synthesizer] = state
            self.left.add(synthesizer)
        return self.student_version - self.in_use.pop(synthesizer, self.student_version)

    def abandon(self, synthesizer: int) -> None:
        """A synthesizer died in the middle of a batch."""
        self.in_use.pop(synthesizer, None)

    def post(self, row: dict[str, float]) -> None:
        """The trainer's progress, for the driver."""
        self.rows.append(row)

    def save(self, trainer: dict[str, Any]) -> bool | None:
        """The trainer's state for a checkpoint; the student on show goes with it.

        In lock-step there is none while a synthesizer's state of this round died with a board.
        """
        if not self.knows or self.student is None:
            return None
        if self.limiter.lockstep and len(self.left) < self.limiter.wave:
            return True
        self.trainer = trainer
        if self.wave_updates:
            self._learn_wave()
        state = {
            "trainer": trainer,
            "student": dict(ray.get(self.student[0])),
            "version": self.student_version,
            "synthesizers": dict(self.synthesizers),
            "meta": packed(self.meta.state_dict()) if self.meta else None,
        }
        self.checkpoints.append(state)
        return True

    def complete(self, outcome: dict[str, Any]) -> bool | None:
        """The trainer's last word: figures and the final student's weights.

        None until the driver has fetched it: a board that dies with it is told again.
        """
        if self.heard_out:
            return True
        self.outcome = outcome
        return None

    def collect(self) -> Progress:
        """What came since the last call."""
        progress = Progress(self.knows, self.rows, self.checkpoints, self.outcome)
        self.rows, self.checkpoints = [], []
        self.heard_out = self.outcome is not None
        return progress

    def _learn_wave(self) -> None:
        """Have the generator learn from the wave that is here, unless a part of it died."""
        first = self.limiter.wave_start(min(self.wave_updates))
        whole = range(first, min(first + self.limiter.wave, self.limiter.rounds))
        if all(number in self.wave_updates for number in whole):
            self.meta.learn([self.wave_updates[number] for number in whole])
            self.learned.update(whole)
        self.wave_updates.clear()
