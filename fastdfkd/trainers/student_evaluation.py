"""Evaluates teacher and student on held-out images, divided among the workers.

Each worker reads and decodes its share of the images and runs the networks on it; the results are
put together on all of them. An evaluation of the student that fails is tried again, each worker's
share on its own. If it fails again and again, the run goes on without its figures.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fastdfkd.core.answers import Output, output_of
from fastdfkd.core.evaluation import Evaluated, merged
from fastdfkd.core.worker_group import copy_from_first
from fastdfkd.experiment import Experiment, student_input
from fastdfkd.text.shown import reason

log = logging.getLogger(__name__)

TRIES = 3
"""How often a worker tries its share of an evaluation."""
_SECONDS_BETWEEN_NEWS = 1.0


class StudentEvaluation:
    """One worker's part in the evaluations of a run. All workers make the same calls."""

    def __init__(
        self,
        experiment: Experiment,
        device: torch.device,
        *,
        rank: int = 0,
        world: int = 1,
        tell: Callable[[int, int], object] = lambda _done, _of: None,
        note: Callable[[str], object] = lambda _: None,
    ):
        """Evaluate the teacher.

        Args:
            experiment: of the run.
            device: of the worker.
            rank: of the worker.
            world: workers.
            tell: called about once a second with the real images that have been evaluated, and
                their number.
            note: called with a line about an evaluation without figures.

        Raises:
            ValueError: too many image files cannot be read.
        """
        self.experiment, self.device = experiment, device
        self.rank, self.world, self.tell, self.note = rank, world, tell, note
        judge = experiment.judge
        self.judge = judge.share(rank, world) if world > 1 else judge
        reads, output = experiment.normalisation(device), output_of(experiment.recipe.teacher)
        taught = self._together(self._answers(experiment.teacher, reads, output))
        assert taught is not None
        self.taught = taught
        """The teacher's answers for all images."""
        self.reached = 0
        """Of the recipe's `platform.evaluations`, those that were due so far."""
        self.class_ious: tuple[float, ...] = ()
        """Of the student's newest figures (`Evaluated.class_ious`)."""
        self.confusions: dict[str, Tensor] = {}
        """Of the student after its last update (`Judge.confusions`)."""

    def due(self, updates: int) -> bool:
        """Whether the student is to be evaluated after so many updates; asked once for each."""
        recipe = self.experiment.recipe
        reached = updates * (recipe.platform.evaluations or 1) // recipe.updates
        due = reached > self.reached or updates == recipe.updates
        self.reached = reached
        return due

    def of_student(self, student: nn.Module, updates: int) -> Evaluated | None:
        """The student's answers for all images; None if a worker could not evaluate its share.

        Args:
            student: the same on all workers, except for the running statistics of its norms: those
                of the first worker count.
            updates: made so far, for messages.
        """
        if self.world > 1:
            copy_from_first(list(student.buffers()))
        # Outside the tries: a worker that repeated an exchange would wait for the others in vain.
        return self._together(self._tried(student, updates))

    def figures(self, student: Evaluated, updates: int) -> dict[str, float]:
        """The figures of the student's answers for all images after so many updates."""
        judge = self.experiment.judge
        self.class_ious = student.class_ious
        if updates == self.experiment.recipe.updates:
            self.confusions = judge.confusions(student, self.taught)
        return judge.figures(student, self.taught)

    def _tried(self, student: nn.Module, updates: int) -> Evaluated | None:
        """The student's answers for this worker's share; None if no try succeeds."""
        recipe, error = self.experiment.recipe, ""
        reads = student_input(recipe, self.device)
        for attempt in range(1, TRIES + 1):
            try:
                return self._answers(student, reads, recipe.student.output)
            except Exception as failure:  # a file system, a decoding process, the device
                error = reason(failure)
                log.warning(
                    "evaluation after update %d, try %d of %d: %s", updates, attempt, TRIES, error
                )
        self.note(f"the evaluation after update {updates} was left out: {error}")
        return None

    def _answers(
        self, model: nn.Module, reads: Callable[[Tensor], Tensor], output: Output
    ) -> Evaluated:
        """The answers for this worker's share."""
        total, told = len(self.experiment.judge), time.monotonic()

        def watch(done: int) -> None:
            nonlocal told
            if self.rank == 0 and time.monotonic() - told > _SECONDS_BETWEEN_NEWS:
                told = time.monotonic()
                self.tell(min(done * self.world, total), total)

        network = model.to(self.device)
        return self.judge.answers(network, reads, self.device, output=output, watch=watch)

    def _together(self, mine: Evaluated | None) -> Evaluated | None:
        """The answers for all images from those of all workers; None if one has none."""
        parts = self._exchange(mine)
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            return None
        return found[0] if len(found) == 1 else merged(found, self.experiment.kind)

    def _exchange(self, mine: Evaluated | None) -> list[Evaluated | None]:
        """The parts of all workers, in their order."""
        if self.world == 1:
            return [mine]
        parts: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(parts, mine)
        return parts
