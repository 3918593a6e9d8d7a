"""The Ray Train loop that distils the student from the growing bank.

    while there is leave to go on:
        take in new batches -> updates up to the next publication -> publish -> report

Runs in every worker of the group (DDP over them), or in the driver with `workers: 0`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch

from fastdfkd.core.clock import Clock
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.experiment import Experiment
from fastdfkd.trainers.bank_loader import BankLoader
from fastdfkd.trainers.evaluation import accuracy, agreement, predict
from fastdfkd.trainers.weights import to_arrays


@dataclass(frozen=True, kw_only=True)
class StudentJob:
    """What a worker is given."""

    experiment: Any
    """Reference to an `Experiment`."""
    bank: Any
    board: Any
    device: str
    """`cpu` or `cuda`."""
    threads: int
    """Processor threads of a worker."""


def train_student(config: dict[str, StudentJob]) -> None:
    """Entry point of a worker; `config["job"]` says what to do."""
    job = config["job"]
    before = torch.get_num_threads()
    torch.set_num_threads(job.threads)
    try:
        StudentTraining(job).run()
    finally:
        torch.set_num_threads(before)


class StudentTraining:
    """One worker's share of the training."""

    def __init__(self, job: StudentJob):
        context = ray.train.get_context()
        self.rank, world = context.get_world_rank(), context.get_world_size()
        self.job = job
        self.experiment: Experiment = ray.get(job.experiment)
        self.recipe = self.experiment.recipe
        self.device = _device(job.device, self.recipe.platform.workers)
        self.clock = Clock(self.device)
        self.distiller = self._distiller(world)
        self.loader = BankLoader(
            job.bank,
            self.experiment.buffer(self.device),
            self.clock,
            batch_size=self.recipe.synthesis.batch_size,
            leader=self.leads,
        )
        self.teacher_says = self._predict(self.experiment.teacher) if self.leads else None
        self.evaluated = 0

    @property
    def leads(self) -> bool:
        """Whether this worker publishes, evaluates and reports."""
        return bool(self.rank == 0)

    def run(self) -> None:
        """Train to the last update."""
        self.began = time.time()
        total = self.recipe.updates
        every = self.recipe.platform.publish_every or self.recipe.distillation.updates_per_round
        allowed = 0
        row: dict[str, float] = {}
        while (done := self.distiller.updates) < total:
            if done >= allowed:
                allowed = self.loader.advance(done)
            stop = min(allowed, total, (done // every + 1) * every)
            loss = self._update_until(stop)
            due = self._evaluation_due(stop, total)
            if self.leads:
                row = self._row(loss)
                if stop % every == 0 and stop < total:
                    self._publish()
                if due:
                    row |= self._evaluate()
                self.job.board.post.remote(row)
            if due:  # a barrier: every worker must come
                ray.train.report(dict(row))
        if self.leads:
            student = to_arrays(self.distiller.student_state())
            ray.get(self.job.board.complete.remote({"row": row, "student": student}))

    def _update_until(self, stop: int) -> float:
        """Updates up to number `stop`; returns their mean loss, read from the device once."""
        done = self.distiller.updates
        with self.clock.measure("distillation"):
            total = torch.zeros((), device=self.device)
            for _ in range(done, stop):
                total += self.distiller.update(self.loader.buffer)
        return float(total) / max(stop - done, 1)

    def _publish(self) -> None:
        student = to_arrays(self.distiller.student_state())
        ray.get(self.job.board.publish.remote(student))

    def _evaluation_due(self, updates: int, total: int) -> bool:
        wanted = updates * max(self.recipe.platform.evaluations, 1) // total
        due = bool(wanted > self.evaluated)
        self.evaluated = wanted
        return due

    def _evaluate(self) -> dict[str, float]:
        with self.clock.measure("evaluation"):
            says = self._predict(self.distiller.module)
        assert self.teacher_says is not None
        return {
            "accuracy": accuracy(says, self.experiment.test.labels),
            "agreement": agreement(says, self.teacher_says),
            "evaluation_seconds": self.clock.seconds["evaluation"],
        }

    def _row(self, loss: float) -> dict[str, float]:
        """The trainer's half of a progress row.

        `began` is Unix seconds of the first wait for images, `ended` those of the last update,
        less the seconds of evaluation before it.
        """
        seconds, distiller = self.clock.seconds, self.distiller
        return {
            "began": self.began,
            "ended": time.time() - seconds["evaluation"],
            "updates": distiller.updates,
            "loss": loss,
            "lr": distiller.lr,
            "bank_images": len(self.loader.buffer),
            "updates_per_second": distiller.updates / max(seconds["distillation"], 1e-9),
            "distillation_seconds": seconds["distillation"],
            "evaluation_seconds": seconds["evaluation"],
            "loading_seconds": seconds["storage"],
            "waiting_seconds": seconds["idle"],
        }

    def _predict(self, model: torch.nn.Module) -> torch.Tensor:
        normalise = self.experiment.normalisation(self.device)
        return predict(model.to(self.device), self.experiment.test.images, normalise, self.device)

    def _distiller(self, world: int) -> StudentDistiller:
        wrapped = None
        if world > 1:
            wrapped = ray.train.torch.prepare_model(self.experiment.student)
        return self.experiment.distiller(
            self.device, rank=self.rank, world_size=world, wrapped=wrapped
        )


def _device(kind: str, workers: int) -> torch.device:
    if kind == "cpu":
        return torch.device("cpu")
    return ray.train.torch.get_device() if workers else torch.device("cuda")
