"""The Ray Train loop that trains the student on the growing bank.

    while updates are left:
        wait for the bank to grant updates, copy new batches
        -> make updates up to the next publication or checkpoint
        -> request the next grant -> publish -> evaluate and report -> save

The next grant is not requested before a checkpoint, nor before an evaluation, whose seconds do not
count as time of the run.

The loop runs in every worker of the group, or in the driver with `workers: 0`. After a
restart of the group, or in a resumed run, it starts from the state on the weight board.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from torch import Tensor

from fastdfkd.core.clock import Clock
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.memory import keep_freed_memory, peak_memory_bytes
from fastdfkd.core.precision import resolve_precision
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.experiment import Experiment
from fastdfkd.recipe import Recipe
from fastdfkd.trainers.bank_loader import BankClosed, BankLoader
from fastdfkd.trainers.bank_location import located_buffer
from fastdfkd.trainers.calls import call_until_answered
from fastdfkd.trainers.checkpoint import next_checkpoint
from fastdfkd.trainers.gpu_share import limit_gpu_memory
from fastdfkd.trainers.sent_images import NONE_SENT, SentImages
from fastdfkd.trainers.student_evaluation import StudentEvaluation
from fastdfkd.trainers.weights import to_arrays, to_tensors

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StudentJob:
    """The arguments of a worker."""

    bank: Any
    """Handle of the sample bank actor."""
    board: Any
    """Handle of the weight board actor."""
    device: str
    """`cpu` or `cuda`."""
    threads: int
    """CPU threads per worker."""
    started: SentImages = NONE_SENT
    """The images with which the bank starts."""


def train_student(config: dict[str, StudentJob]) -> None:
    """Entry point of a worker; `config["job"]` holds its arguments."""
    job = config["job"]
    before = torch.get_num_threads()
    torch.set_num_threads(job.threads)
    training: StudentTraining | None = None
    try:
        training = StudentTraining(job)
        training.run()
    except BankClosed as closed:  # the driver raises the error; restarting workers is useless
        log.info("training ends early: %s", closed)
    finally:
        torch.set_num_threads(before)
        if training is not None:
            training.distiller.release()


class StudentTraining:
    """One worker's share of the training."""

    def __init__(self, job: StudentJob):
        context = ray.train.get_context()
        self.rank, self.world = context.get_world_rank(), context.get_world_size()
        self.job = job
        reference, state = call_until_answered(job.board.parts.remote, "the weight board")
        self.experiment: Experiment = ray.get(reference[0])
        self.recipe: Recipe = self.experiment.recipe
        self.device = _device(job.device, self.recipe.platform.workers)
        if self.recipe.platform.workers:  # this process runs nothing else
            keep_freed_memory()
            limit_gpu_memory(self.device)
        self.clock = Clock(self.device)
        self.notes: list[str] = []
        """What a user should know of this run, besides the notes of the distiller, a line each."""
        self.noted: set[str] = set()
        """Notes that the driver has."""
        self.distiller = self._distiller()
        self.buffer = self._buffer()
        batch = self.recipe.synthesis.batch_size
        self.loader = BankLoader(
            job.bank, self.buffer, self.clock, batch_size=batch, leader=self.leads
        )
        self.evaluation = StudentEvaluation(
            self.experiment,
            self.device,
            rank=self.rank,
            world=self.world,
            tell=lambda *news: job.board.evaluating.remote(news),
            note=lambda line: job.board.note.remote([line]),
        )
        self.evaluations = 0
        self.row: dict[str, float] = {}
        self.class_ious: tuple[float, ...] = ()
        """Of the newest evaluation (`Evaluated.class_ious`)."""
        self.confusions: dict[str, Tensor] = {}
        """Of the last evaluation (`Judge.confusions`)."""
        self.shown: tuple[Any, int] | None = None
        """The student that was published last, with its number of updates."""
        if state is not None:
            self._go_on_from(to_tensors(state))
        self.began = self.clock.unix()

    @property
    def leads(self) -> bool:
        """Whether this worker publishes, reports and saves."""
        return bool(self.rank == 0)

    def run(self) -> None:
        """Train until the last update."""
        total = self.recipe.updates
        every = self.recipe.publish_every
        allowed = 0
        while (done := self.distiller.updates) < total:
            if done >= allowed:
                allowed = self._allowed(done)
            checkpoint = next_checkpoint(self.recipe, self.distiller.updates)
            stop = min(allowed, total, (done // every + 1) * every, checkpoint)
            loss = self._update_until(stop)
            if not self.distiller.workers.agree(math.isfinite(loss)):
                self._give_up(done, stop)
            publish, save = stop % every == 0 or stop == total, stop == checkpoint != total
            evaluate = publish and self._evaluation_due()
            if stop == allowed and not (evaluate or save or stop == total):
                self.loader.ask(stop)  # so that synthesizers start the next batch now
            if publish:
                self._publish_and_report(loss, evaluate)
            if save and self.leads:
                call_until_answered(
                    lambda: self.job.board.save.remote(self._state()), "the weight board"
                )
        if self.leads:
            student = to_arrays(self.distiller.student_state())
            precision = self._precision()
            outcome = {
                "row": self.row,
                "student": student,
                "precision": precision,
                "cuda_graphs": "on" if self.distiller.captures else "off",
                "class_ious": self.class_ious,
                "confusions": to_arrays(self.confusions),
            }
            call_until_answered(lambda: self.job.board.complete.remote(outcome), "the weight board")

    def _allowed(self, done: int) -> int:
        """Wait for more updates; the number of updates in all that every worker may make.

        A bank that restarts, or ends, between the workers' requests answers them differently. They
        would then exchange gradients of different updates, or wait for a worker that has left.

        Args:
            done: updates made so far.

        Raises:
            BankClosed: the run is ending. If one worker learns it, all raise.
        """
        closed: BankClosed | None = None
        mine = done
        try:
            mine = self.loader.advance(done, self._publish)
        except BankClosed as error:
            closed = error
        allowed = self.distiller.workers.least(mine)
        if allowed <= done:
            raise closed or BankClosed("the bank has told another worker that the run is ending")
        return allowed

    def _buffer(self) -> SampleBuffer:
        """This worker's copy of the bank, with the images that it starts with."""
        bank, on_a_node = self.recipe.bank, 1
        if self.recipe.platform.workers:
            on_a_node = ray.train.get_context().get_local_world_size()
        buffer, location = located_buffer(
            bank,
            self.recipe.capacity,
            self.experiment.spec.shape,
            self.device,
            self.job.started,
            trainers=on_a_node,
        )
        log.info("%s", location.line)
        if bank.location != "device" and self.leads:
            self.notes.append(location.line)
        return buffer

    def _update_until(self, stop: int) -> float:
        """Make updates until `stop` are made; returns their mean loss (one device read)."""
        done = self.distiller.updates
        with self.clock.measure("distillation"):
            losses = self.distiller.update_many(self.buffer, stop - done).cpu()
        total = torch.zeros(())
        for loss in losses:
            total += loss
        return float(total) / max(stop - done, 1)

    def _give_up(self, done: int, stop: int) -> None:
        """End the run, because a student with NaN weights cannot recover.

        Raises:
            BankClosed: always. The driver gets the message through the weight board.
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
            call_until_answered(lambda: self.job.board.complete.remote(outcome), "the weight board")
        raise BankClosed(message)

    def _publish_and_report(self, loss: float, evaluate: bool) -> None:
        """Publish, evaluate and report. All workers call this after the same updates."""
        last = self.distiller.updates == self.recipe.updates
        if self.leads:
            self.row = self._row(loss)
            self._send_notes()
            if not last:
                self.shown = to_arrays(self.distiller.student_state()), self.distiller.updates
                self._publish()
        if evaluate:
            self.row |= self._evaluate()
        if self.leads:
            self.job.board.post.remote(self.row)
        if evaluate:  # a barrier: every worker must call it
            ray.train.report(dict(self.row))

    def _precision(self) -> str:
        return resolve_precision(self.device, self.recipe.platform.precision)

    def _send_notes(self) -> None:
        """Send the driver the notes that it does not have."""
        notes = [*self.notes, *self.distiller.notes]
        new = [note for note in dict.fromkeys(notes) if note not in self.noted]
        if new:
            self.job.board.note.remote(new)
        self.noted.update(new)

    def _publish(self) -> None:
        """Publish the newest student, again while waiting: the board may have been restarted."""
        if self.shown is not None:
            board, shown = self.job.board, self.shown
            call_until_answered(lambda: board.publish.remote(*shown), "the weight board")

    def _evaluation_due(self) -> bool:
        made, total = self.distiller.updates, self.recipe.updates
        reached = made * (self.recipe.platform.evaluations or 1) // total
        due = bool(reached > self.evaluations or made == total)
        self.evaluations = reached
        return due

    def _state(self) -> dict[str, Any]:
        return {
            "distiller": to_arrays(self.distiller.state_dict()),
            "clock": dict(self.clock.seconds),
            "evaluations": self.evaluations,
            "precision": self._precision(),
            "rounds": list(self.loader.rounds),
            "ended": self._net_time(),
        }

    def _go_on_from(self, state: dict[str, Any]) -> None:
        self.distiller.load_state_dict(state["distiller"])
        self.clock.seconds.update(state["clock"])
        self.evaluations = state["evaluations"]
        before, now = state.get("precision"), self._precision()
        if before not in (None, now):  # None: a checkpoint of an older version
            self.notes.append(
                f"the student was trained in {before} before the run was resumed, and is now in "
                f"{now} on this {self.device.type}"
            )

    def _evaluate(self) -> dict[str, float]:
        """Figures of the student; all workers take part, and the leader has them."""
        updates, evaluation = self.distiller.updates, self.evaluation
        with self.clock.measure("evaluation"):
            answers = evaluation.of_student(self.distiller.module, updates)
        seconds = {"evaluation_seconds": self.clock.seconds["evaluation"]}
        if answers is None or not self.leads:
            return seconds
        self.class_ious = answers.class_ious
        judge, taught = self.experiment.judge, evaluation.taught
        if updates == self.recipe.updates:
            self.confusions = judge.confusions(answers, taught)
        return {**judge.figures(answers, taught), **seconds}

    def _row(self, loss: float) -> dict[str, float]:
        """The trainer's part of a progress row.

        `began` is the Unix time of the first wait for images in seconds. `ended` is that of the
        last update, minus the seconds of evaluation before it.
        """
        seconds, distiller = self.clock.seconds, self.distiller
        return {
            "began": self.began,
            "ended": self._net_time(),
            "updates": distiller.updates,
            "loss": loss,
            "lr": distiller.lr,
            "bank_images": len(self.buffer),
            "updates_per_second": distiller.updates / max(seconds["distillation"], 1e-9),
            "distillation_seconds": seconds["distillation"],
            "evaluation_seconds": seconds["evaluation"],
            "loading_seconds": seconds["storage"],
            "waiting_seconds": seconds["idle"],
            "lost_rounds": len(self.loader.lost),
            "trainer_peak_memory_bytes": peak_memory_bytes(self.device),
        }

    def _net_time(self) -> float:
        """Unix time in seconds, minus the seconds of evaluation so far."""
        return self.clock.unix() - self.clock.seconds["evaluation"]

    def _distiller(self) -> StudentDistiller:
        worker = {"rank": self.rank, "world_size": self.world, "together": self.world > 1}
        return self.experiment.distiller(self.device, **worker)


def _device(kind: str, workers: int) -> torch.device:
    if kind == "cpu":
        return torch.device("cpu")
    return ray.train.torch.get_device() if workers else torch.device("cuda")
