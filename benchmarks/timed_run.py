"""A run in one process that can be stopped at any processor time, saved and continued.

It makes the calls of `core/reference_loop.py` in the same order. The student's learning rate does
not depend on a planned number of updates: it is constant, and falls when the caller says so.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fastdfkd.core.batch import SyntheticBatch
from fastdfkd.core.batch_figures import BatchFigures
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.interfaces import Synthesizer
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.methods.loss_terms import DivergedError
from fastdfkd.core.network_use import copied
from fastdfkd.core.task import Task
from fastdfkd.experiment import Experiment
from fastdfkd.runs.files import write_whole

ATTEMPTS = 5
"""How often a batch that diverged is made, from other random numbers, as by the platform."""


class TimedDistiller(StudentDistiller):
    """A distiller whose rate is constant after `warmup_updates`, times a factor."""

    factor = 1.0
    """1: `distillation.lr`. 0: `distillation.min_lr`. Set by the caller."""

    @property
    def lr(self) -> float:
        """Learning rate of the next update."""
        section = self.section
        warm = min((self.updates + 1) / (section.warmup_updates + 1), 1.0)
        return warm * (section.min_lr + (section.lr - section.min_lr) * self.factor)


@dataclass(frozen=True)
class RunParts:
    """What builds the parts of a run."""

    synthesizer: Callable[[Any, Task], Synthesizer] = build_synthesizer
    distiller: type[TimedDistiller] = TimedDistiller


class TimedRun:
    """Synthesizer, images and student of a run, and the processor seconds that they took."""

    def __init__(self, experiment: Experiment, parts: RunParts | None = None):
        """Build the parts. The experiment's student is not trained, a copy of it is.

        Args:
            experiment: its recipe says what the parts are.
            parts: build others of the same recipe; unset: the recipe's.
        """
        parts = parts or RunParts()
        experiment = replace(experiment, student=copied(experiment.student))
        recipe = experiment.recipe
        self.synthesis, self.distillation = experiment.synthesis, recipe.distillation
        self.in_order = recipe.bank.draws == "in_order"
        self.synthesizer = parts.synthesizer(self.synthesis, experiment.task("cpu"))
        self.buffer = experiment.buffer()
        self.distiller = parts.distiller(
            recipe.distillation,
            experiment.task("cpu"),
            total_updates=recipe.updates,
            warmup_rounds=self.synthesis.warmup_rounds,
            in_order=self.in_order,
        )
        self.ends: list[float] = []
        """`seconds` at the end of the synthesis of each round."""
        self.figures: list[BatchFigures | None] = []
        """Signs of a collapse, of each round."""
        self.synthesis_seconds = 0.0
        """Synthesis and storage."""
        self.distillation_seconds = 0.0
        self.last_round_seconds = 0.0

    @property
    def rounds(self) -> int:
        """Rounds made."""
        return len(self.ends)

    def images_at(self, seconds: float) -> int:
        """Images made until then. The run may have gone on to the end of its newest round."""
        return self.synthesis.batch_size * sum(end <= seconds for end in self.ends)

    @property
    def seconds(self) -> float:
        """Processor seconds so far."""
        return self.synthesis_seconds + self.distillation_seconds

    def play(self, until: float, *, fall: bool = False) -> None:
        """Go on until `seconds` has reached `until`.

        Args:
            until: in processor seconds. The run stops after the step that passes it.
            fall: let the learning rate fall linearly to its minimum, which it reaches at `until`.
                A synthesis that would probably not end before is then left out, and the student
                trains on the images that there are.

        Raises:
            DivergedError: a batch diverged `ATTEMPTS` times.
        """
        start = self.seconds
        while (now := self.seconds) < until:
            if self._images_are_due and not (fall and self._is_too_late(until)):
                self._synthesize()
                continue
            self.distiller.factor = (until - now) / (until - start) if fall else 1.0
            with self._timed("distillation_seconds"):
                self.distiller.update(self.buffer)

    @property
    def _past_warmup(self) -> int:
        return max(self.rounds - self.synthesis.warmup_rounds, 0)

    @property
    def _images_are_due(self) -> bool:
        return self.distiller.updates >= self._past_warmup * self.distillation.updates_per_round

    def _is_too_late(self, until: float) -> bool:
        can_wait = self._past_warmup > 0 and not self.in_order
        return can_wait and self.seconds + self.last_round_seconds > until

    def _synthesize(self) -> None:
        before = self.synthesis_seconds
        with self._timed("synthesis_seconds"):
            self.synthesizer.load_student(self.distiller.student_state(), self._past_warmup)
            batch = self._batch()
            self.buffer.insert(batch)
        self.last_round_seconds = self.synthesis_seconds - before
        self.figures.append(batch.provenance.figures)
        self.ends.append(self.seconds)

    def _batch(self) -> SyntheticBatch:
        for attempt in range(ATTEMPTS - 1):
            try:
                return self.synthesizer.synthesize(self.rounds, attempt)
            except DivergedError:
                continue
        return self.synthesizer.synthesize(self.rounds, ATTEMPTS - 1)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.process_time()
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) + time.process_time() - start)

    def save(self, file: Path, **more: object) -> None:
        """Write the whole state, and `more` values of plain types."""
        state = {
            "synthesizer": self.synthesizer.state_dict(),
            "distiller": self.distiller.state_dict(),
            "images": self.buffer.first(len(self.buffer)),
            "inserted": self.buffer.inserted,
            "of_a_round": self.buffer.of_a_round,
            "ends": self.ends,
            "figures": [each and asdict(each) for each in self.figures],
            "synthesis_seconds": self.synthesis_seconds,
            "distillation_seconds": self.distillation_seconds,
            "last_round_seconds": self.last_round_seconds,
        }
        content = io.BytesIO()
        torch.save({"run": state, "more": more}, content)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, content.getvalue())

    def load(self, file: Path) -> dict[str, object]:
        """Restore the state that `save` wrote; return its `more`."""
        content = torch.load(file, weights_only=True)
        state, more = content["run"], content["more"]
        self.synthesizer.load_state_dict(state["synthesizer"])
        self.distiller.load_state_dict(state["distiller"])
        self.buffer.images[: len(state["images"])] = state["images"]
        self.buffer.inserted, self.buffer.of_a_round = state["inserted"], state["of_a_round"]
        self.figures = [each and BatchFigures(**each) for each in state["figures"]]
        for name in ("ends", "synthesis_seconds", "distillation_seconds", "last_round_seconds"):
            setattr(self, name, state[name])
        assert isinstance(more, dict)
        return more
