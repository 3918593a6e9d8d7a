"""The weight board: it holds the newest student, the shared generator and the trainer's output.

The trainer publishes students. Synthesizers read before each batch (`begin`) and report its end
(`finish`) where the board needs that. In lock-step a batch begins with the student of the paper's
order, which may not be published yet, because the trainer asks the bank for the next batch before
it publishes. A new version is refused if it would make a running batch staler than `max_staleness`
versions; the trainer offers a newer one later.

With several synthesizers the shared generator is here. `finish` brings a batch's meta-update. In
async runs it is applied at once; in lock-step the updates of a wave are applied in round order when
the next wave begins, so until then a round can be made again with the same generator.

The board also gathers the parts of a checkpoint: synthesizers bring their state with `finish` when
asked, the trainer brings its own with `save`, and the driver fetches both with `collect` and writes
them. The driver restores a restarted board with `restore`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray

from fastdfkd.trainers.weights import to_arrays, to_tensors


@dataclass(frozen=True)
class RoundInputs:
    """What a synthesizer needs for a round."""

    student_version: int
    student: list[Any] | None
    """[reference] to the student's weights; None if the synthesizer has this version."""
    generator: list[Any] | None
    """[reference] to the shared generator; None if there is none, or the synthesizer has it."""
    bring_state: bool
    """Whether to pass the synthesizer's state to `finish`, for a checkpoint."""
    report_finish: bool
    """Whether to call `finish`. False in lock-step with a generator per synthesizer, unless a state
    is to be brought: no student is published during the batch, so its staleness is 0."""


@dataclass(frozen=True)
class Progress:
    """What the driver collects."""

    restored: bool
    """False: the board was restarted, and the driver has to restore it."""
    rows: list[dict[str, float]]
    checkpoints: list[dict[str, Any]]
    outcome: dict[str, Any] | None
    """What the trainer passed to `complete`; None before."""
    notes: list[str]
    """Deviations from the recipe that the trainer found since the last call, a line each."""
    evaluated: tuple[int, int] | None = None
    """Images that a running evaluation has done, and their number; None: nothing new."""


NOT_READY = "not ready"
"""Answer to `begin` while the student that the round needs is not published yet: call again."""


@ray.remote(num_cpus=0, max_restarts=-1)
class WeightBoard:
    """Versions of and references to weights, and the trainer's output for the driver."""

    def __init__(self, limiter: Any, max_staleness: int | None, checkpoint_every: int | None):
        self.limiter, self.max_staleness = limiter, max_staleness
        self.checkpoint_every = checkpoint_every
        self.restored = False
        self.experiment: list[Any] = []
        self.meta: Any = None
        self.student_version, self.student_updates = -1, 0
        self.student: list[Any] | None = None
        self.generator: list[Any] | None = None
        self.generator_version = -1
        """Version of the shared generator that `generator` refers to."""
        self.in_use: dict[int, int] = {}
        """Student version of each running batch, by synthesizer."""
        self.sent: dict[int, tuple[int, int]] = {}
        """By synthesizer, the versions of student and generator that this board sent it."""
        self.wave_updates: dict[int, Any] = {}
        """By round, meta-updates that are not applied yet."""
        self.learned: set[int] = set()
        """Rounds whose meta-update is applied; that of a repeated round is ignored."""
        self.synthesizers: dict[int, Any] = {}
        """Newest state of each synthesizer, by index."""
        self.fresh: set[int] = set()
        """Synthesizers that brought a state since `restore`."""
        self.trainer: Any = None
        """Newest state of the trainer."""
        self.refused_versions = 0
        self.rows: list[dict[str, float]] = []
        self.notes: list[str] = []
        self.evaluated: tuple[int, int] | None = None
        self.checkpoints: list[dict[str, Any]] = []
        self.outcome: dict[str, Any] | None = None
        self.outcome_collected = False

    def restore(self, experiment: list[Any], state: Mapping[str, Any], meta: Any) -> None:
        """Set the board's state, at the start of a run and after a restart.

        Args:
            experiment: [reference] to the run's experiment.
            state: `student` weights as arrays and their `version`; in a resumed run also the states
                of the `synthesizers` by index, of the `trainer` and of the shared generator
                (`meta`).
            meta: the shared `MetaGenerator` in its initial state, or None.
        """
        self.experiment, self.meta = experiment, meta
        if meta is not None and state.get("meta") is not None:
            meta.load_state_dict(to_tensors(state["meta"]))
        self.synthesizers = dict(state.get("synthesizers", {}))
        self.trainer = state.get("trainer")
        self.student, self.student_version = [ray.put(state["student"])], state["version"]
        self.student_updates = self.trainer["distiller"]["updates"] if self.trainer else 0
        self.restored = True

    def parts(self, synthesizer: int | None = None) -> tuple[list[Any], Any] | None:
        """[reference] to the experiment, and the newest state of a synthesizer or the trainer.

        This method, `publish`, `begin`, `finish` and `save` return None while the board is not
        restored: call again.

        Args:
            synthesizer: its index; None: the trainer.
        """
        if not self.restored:
            return None
        if synthesizer is None:
            return self.experiment, self.trainer
        self.sent.pop(synthesizer, None)
        return self.experiment, self.synthesizers.get(synthesizer)

    def publish(self, weights: Mapping[str, Any], updates: int) -> int | None:
        """Publish a newer student, unless a running batch would become too stale.

        The published student may be offered again, without effect.

        Args:
            weights: state dict as numpy arrays, passed by value so that it outlives its sender.
            updates: updates made to the student.

        Returns:
            The newest version's number; 0 is the initial student.
        """
        if not self.restored:
            return None
        if updates == self.student_updates:
            return self.student_version
        oldest = min(self.in_use.values(), default=self.student_version)
        limit = self.max_staleness
        if limit is not None and self.student_version + 1 - oldest > limit:
            self.refused_versions += 1
            return self.student_version
        self.student, self.student_updates = [ray.put(weights)], updates
        self.student_version += 1
        return self.student_version

    def begin(self, synthesizer: int, round: int) -> RoundInputs | str | None:
        """Register a batch; return the weights that its synthesizer lacks, or `NOT_READY`."""
        if not self.restored:
            return None
        if self.student_updates < self.limiter.student_for(round):
            return NOT_READY
        self.in_use[synthesizer] = self.student_version
        newest = -1
        if self.meta:
            first = self.limiter.wave_start(round)
            if self.limiter.lockstep and min(self.wave_updates, default=first) < first:
                self._learn_wave()
            self.meta.begin(first)
            newest = self.meta.version
            if self.generator_version != newest:
                self.generator = [ray.put(self.meta.shared_state())]
                self.generator_version = newest
        student, generator = self.sent.get(synthesizer, (-1, -1))
        self.sent[synthesizer] = self.student_version, newest
        every = self.checkpoint_every
        bring_state = bool(every and self.limiter.wave_crosses(round, every))
        return RoundInputs(
            self.student_version,
            self.student if self.student_version != student else None,
            self.generator if newest != generator else None,
            bring_state,
            bring_state or self.meta is not None or not self.limiter.lockstep,
        )

    def finish(self, synthesizer: int, update: Any, state: Any) -> int | None:
        """Register the end of a batch.

        Args:
            synthesizer: index of its synthesizer.
            update: its meta-update if the generator is shared, else None.
            state: the synthesizer's state if `RoundInputs.bring_state`, else None.

        Returns:
            The batch's staleness: student versions between the one it used and the newest.
        """
        if not self.restored:
            return None
        if self.meta and update is not None and update.round not in self.learned:
            self.wave_updates[update.round] = update
            if not self.limiter.lockstep:
                self._learn_wave()
        if state is not None:
            self.synthesizers[synthesizer] = state
            self.fresh.add(synthesizer)
        return self.student_version - self.in_use.pop(synthesizer, self.student_version)

    def abandon(self, synthesizer: int) -> None:
        """Unregister the running batch of a synthesizer that died."""
        self.in_use.pop(synthesizer, None)

    def post(self, row: dict[str, float]) -> None:
        """Keep a progress row of the trainer for the driver."""
        self.rows.append(row)

    def note(self, lines: list[str]) -> None:
        """Keep deviations from the recipe, a line each, for the driver."""
        self.notes += lines

    def evaluating(self, images: tuple[int, int]) -> None:
        """Keep how many images a running evaluation has done, and their number, for the driver."""
        self.evaluated = images

    def save(self, trainer: dict[str, Any]) -> bool | None:
        """Add a checkpoint: the trainer's state with the published student and all other states.

        In lock-step the checkpoint is skipped if a restart of the board lost a synthesizer's state.
        """
        if not self.restored or self.student is None:
            return None
        if self.limiter.lockstep and len(self.fresh) < self.limiter.wave:
            return True
        self.trainer = trainer
        if self.wave_updates:
            self._learn_wave()
        state = {
            "trainer": trainer,
            "student": dict(ray.get(self.student[0])),
            "version": self.student_version,
            "synthesizers": dict(self.synthesizers),
            "meta": to_arrays(self.meta.state_dict()) if self.meta else None,
        }
        self.checkpoints.append(state)
        return True

    def complete(self, outcome: dict[str, Any]) -> bool | None:
        """Keep the trainer's outcome, with its figures and the final student's weights.

        None until the driver has collected it: call again, because the board may restart before.
        """
        if self.outcome_collected:
            return True
        self.outcome = outcome
        return None

    def collect(self) -> Progress:
        """Rows, notes and checkpoints since the last call, and the outcome."""
        progress = Progress(
            self.restored, self.rows, self.checkpoints, self.outcome, self.notes, self.evaluated
        )
        self.rows, self.checkpoints, self.notes, self.evaluated = [], [], [], None
        self.outcome_collected = self.outcome is not None
        return progress

    def _learn_wave(self) -> None:
        """Apply the meta-updates of the oldest wave, unless a restart of the board lost one."""
        first = self.limiter.wave_start(min(self.wave_updates))
        wave = range(first, min(first + self.limiter.wave, self.limiter.rounds))
        if all(round in self.wave_updates for round in wave):
            self.meta.learn([self.wave_updates[round] for round in wave])
            self.learned.update(wave)
        self.wave_updates.clear()
