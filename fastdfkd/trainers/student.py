"""The Ray Train loop that distils the student from the growing bank.

    while there is leave to go on:
        take in new batches -> updates up to the next publication or checkpoint
        -> ask for the next batch -> publish -> report -> checkpoint

Nobody asks ahead before a checkpoint, or an evaluation, whose time is left out of the run's.

Runs in every worker of the group (DDP over them), or in the driver with `workers: 0`. A group that
was restarted, or a resumed run, goes on from the state that the board holds.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch

from fastdfkd.core.answers import Output
from fastdfkd.core.clock import Clock
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.evaluation import Evaluated
from fastdfkd.core.memory import keep_freed_memory, peak_memory_bytes
from fastdfkd.core.precision import resolved
from fastdfkd.experiment import Experiment
from fastdfkd.recipe import Recipe
from fastdfkd.trainers.bank_loader import BankClosed, BankLoader
from fastdfkd.trainers.calls import insist
from fastdfkd.trainers.weights import packed, unpacked

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StudentJob:
    """What a worker is given."""

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
    except BankClosed as closed:  # the driver raises why; a new group of workers would not help
        log.info("training ends early: %s", closed)
    finally:
        torch.set_num_threads(before)


class StudentTraining:
    """One worker's share of the training."""

    def __init__(self, job: StudentJob):
        context = ray.train.get_context()
        self.rank, self.world = context.get_world_rank(), context.get_world_size()
        self.job = job
        reference, state = insist(job.board.parts.remote, "the weight board")
        self.experiment: Experiment = ray.get(reference[0])
        self.recipe: Recipe = self.experiment.recipe
        self.device = _device(job.device, self.recipe.platform.workers)
        if self.recipe.platform.workers:  # a process of our own
            keep_freed_memory()
        self.clock = Clock(self.device)
        self.distiller = self._distiller()
        self.loader = BankLoader(
            job.bank,
            self.experiment.buffer(self.device),
            self.clock,
            batch_size=self.recipe.synthesis.batch_size,
            leader=self.leads,
        )
        self.teacher_answers = self._teacher_answers() if self.leads else None
        """For the held-out images."""
        self.evaluations = 0
        self.row: dict[str, float] = {}
        self.shown: tuple[Any, int] | None = None
        """The student last published, and its updates."""
        if state is not None:
            self._go_on_from(unpacked(state))
        self.began = self.clock.unix()

    @property
    def leads(self) -> bool:
        """Whether this worker publishes, evaluates, reports and saves."""
        return bool(self.rank == 0)

    def run(self) -> None:
        """Train to the last update."""
        total = self.recipe.updates
        every = self.recipe.publish_every
        allowed = 0
        while (done := self.distiller.updates) < total:
            if done >= allowed:
                allowed = self.loader.advance(done, self._publish)
            checkpoint = self._next_checkpoint()
            stop = min(allowed, total, (done // every + 1) * every, checkpoint)
            loss = self._update_until(stop)
            if self._any_diverged(loss):
                self._give_up(done, stop)
            chapter, save = stop % every == 0 or stop == total, stop == checkpoint != total
            evaluate = chapter and self._evaluation_due()
            if stop == allowed and not (evaluate or save or stop == total):
                self.loader.ask(stop)  # so that the next batch is begun meanwhile
            if chapter:
                self._end_of_chapter(loss, evaluate)
            if save and self.leads:
                insist(lambda: self.job.board.save.remote(self._state()), "the weight board")
        if self.leads:
            student = packed(self.distiller.student_state())
            precision = resolved(self.device, self.recipe.platform.precision)
            outcome = {"row": self.row, "student": student, "precision": precision}
            insist(lambda: self.job.board.complete.remote(outcome), "the weight board")

    def _update_until(self, stop: int) -> float:
        """Updates up to number `stop`; returns their mean loss, read from the device once."""
        done = self.distiller.updates
        with self.clock.measure("distillation"):
            total = torch.zeros((), device=self.device)
            for _ in range(done, stop):
                total += self.distiller.update(self.loader.buffer)
        return float(total) / max(stop - done, 1)

    def _give_up(self, done: int, stop: int) -> None:
        """End the run: no later update makes a student finite again.

        Raises:
            BankClosed: always; the driver has heard why.
        """
        section = self.recipe.distillation
        message = (
            f"the student's training diverged between updates {done} and {stop}: its loss in train "
            f"mode became NaN or infinite; lower distillation.lr (now {section.lr:g}), set "
            f"distillation.warmup_updates (now {section.warmup_updates}), or use "
            "platform.precision=float32"
        )
        if self.leads:
            outcome = {"diverged": message}
            insist(lambda: self.job.board.complete.remote(outcome), "the weight board")
        raise BankClosed(message)

    def _any_diverged(self, loss: float) -> bool:
        """Whether the loss of any worker is not finite: all of them stop, or none."""
        diverged = not math.isfinite(loss)
        if self.world == 1:
            return diverged
        flag = torch.tensor(float(diverged), device=self.device)
        torch.distributed.all_reduce(flag)
        return bool(flag)

    def _end_of_chapter(self, loss: float, evaluate: bool) -> None:
        """Publish, report and evaluate; all workers come here at the same updates."""
        last = self.distiller.updates == self.recipe.updates
        if self.leads:
            self.row = self._row(loss)
            board = self.job.board
            if not last:
                self.shown = packed(self.distiller.student_state()), self.distiller.updates
                self._publish()
            if evaluate:
                self.row |= self._evaluate()
            board.post.remote(self.row)
        if evaluate:  # a barrier: every worker must come
            ray.train.report(dict(self.row))

    def _publish(self) -> None:
        """Offer the newest student: while waiting again, for a board that was restarted."""
        if self.shown is not None:
            board, shown = self.job.board, self.shown
            insist(lambda: board.publish.remote(*shown), "the weight board")

    def _evaluation_due(self) -> bool:
        made, total = self.distiller.updates, self.recipe.updates
        reached = made * (self.recipe.platform.evaluations or 1) // total
        due = bool(reached > self.evaluations or made == total)
        self.evaluations = reached
        return due

    def _next_checkpoint(self) -> int:
        """Updates of the next multiple of `checkpoint_every` rounds; all of them if none is left.

        Synthesizers leave their state after just these rounds (`RateLimiter.wave_crosses`).
        """
        recipe = self.recipe
        every, warmup = recipe.platform.checkpoint_every, recipe.synthesis.warmup_rounds
        if every is None:
            return recipe.updates
        a_round = recipe.distillation.updates_per_round
        rounds = warmup + self.distiller.updates // a_round
        return min(((rounds // every + 1) * every - warmup) * a_round, recipe.updates)

    def _state(self) -> dict[str, Any]:
        return {
            "distiller": packed(self.distiller.state_dict()),
            "clock": dict(self.clock.seconds),
            "evaluations": self.evaluations,
            "rounds": list(self.loader.rounds),
            "ended": self._net_time(),
        }

    def _go_on_from(self, state: dict[str, Any]) -> None:
        self.distiller.load_state_dict(state["distiller"])
        self.clock.seconds.update(state["clock"])
        self.evaluations = state["evaluations"]

    def _evaluate(self) -> dict[str, float]:
        with self.clock.measure("evaluation"):
            answers = self._answers(self.distiller.module, self.recipe.student.output)
        figures = self.experiment.judge.figures(answers, self.teacher_answers)
        return {**figures, "evaluation_seconds": self.clock.seconds["evaluation"]}

    def _row(self, loss: float) -> dict[str, float]:
        """The trainer's half of a progress row.

        `began` is Unix seconds of the first wait for images, `ended` those of the last update,
        less the seconds of evaluation before it.
        """
        seconds, distiller = self.clock.seconds, self.distiller
        return {
            "began": self.began,
            "ended": self._net_time(),
            "updates": distiller.updates,
            "loss": loss,
            "lr": distiller.lr,
            "bank_images": len(self.loader.buffer),
            "updates_per_second": distiller.updates / max(seconds["distillation"], 1e-9),
            "distillation_seconds": seconds["distillation"],
            "evaluation_seconds": seconds["evaluation"],
            "loading_seconds": seconds["storage"],
            "waiting_seconds": seconds["idle"],
            "lost_rounds": len(self.loader.lost),
            "trainer_peak_memory_bytes": peak_memory_bytes(self.device),
        }

    def _net_time(self) -> float:
        """Unix seconds now, less what the run has spent on evaluation."""
        return self.clock.unix() - self.clock.seconds["evaluation"]

    def _teacher_answers(self) -> Evaluated:
        return self._answers(self.experiment.teacher, self.recipe.teacher.output)

    def _answers(self, model: torch.nn.Module, output: Output) -> Evaluated:
        normalise, judge = self.experiment.normalisation(self.device), self.experiment.judge
        return judge.answers(model.to(self.device), normalise, self.device, output=output)

    def _distiller(self) -> StudentDistiller:
        idle = {"find_unused_parameters": self.experiment.student_use.idle_parameters}
        wrap = partial(ray.train.torch.prepare_model, parallel_strategy_kwargs=idle)
        several = self.world > 1
        worker = {"rank": self.rank, "world_size": self.world, "wrap": wrap if several else None}
        return self.experiment.distiller(self.device, **worker)


def _device(kind: str, workers: int) -> torch.device:
    if kind == "cpu":
        return torch.device("cpu")
    return ray.train.torch.get_device() if workers else torch.device("cuda")
