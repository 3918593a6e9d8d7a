"""A synthesizer as an actor: for each round the newest weights in, one batch out."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import ObjectLostError

from fastdfkd.core.batch import SyntheticBatch
from fastdfkd.core.clock import SteadyTime
from fastdfkd.core.interfaces import MetaUpdate, Synthesizer
from fastdfkd.core.memory import keep_freed_memory, peak_memory_bytes
from fastdfkd.platform.weight_board import EARLY, News
from fastdfkd.trainers.calls import insist
from fastdfkd.trainers.weights import packed, unpacked

if TYPE_CHECKING:
    from fastdfkd.experiment import Experiment

log = logging.getLogger(__name__)

EARLY_PAUSES = 0.001, 0.01
"""First and longest pause, in seconds, before the board is asked for a student again."""


@ray.remote(max_restarts=-1, max_task_retries=0)
class SynthesizerActor:
    """Holds a teacher, the latest student and a meta-generator on its own device.

    The caller of `synthesize` owns what it returns, so that outlives this actor. One that was
    restarted goes on from the state that the caller gives, or else from the one that was last left
    on the board. The board is found by name: a restartable actor's arguments should not need the
    object store.
    """

    def __init__(self, board: str, index: int, device: str, threads: int, shared: bool):
        import torch

        torch.set_num_threads(threads)
        keep_freed_memory()
        self.board: Any = ray.get_actor(board)
        self.index, self.shared = index, shared
        self.device = device
        self.synthesizer: Synthesizer
        self.synthesizer, self.on_board = self._build(device)
        self.begun = False
        self.finished: float | None = None
        self._unix = SteadyTime()

    def ready(self) -> bool:
        """Answers once the actor is built, again after a restart."""
        return True

    @ray.method(num_returns=2)  # of one round; n + 1 of n; one more with a state
    def synthesize(
        self, rounds: Sequence[tuple[int, int]], left: list[Any] | None = None
    ) -> tuple[Any, ...]:
        """Make the batches of some rounds, one after the other.

        Args:
            rounds: number and attempt of each; a refused batch is made again with the next attempt.
            left: list of the reference to this synthesizer's state after the last call that the
                caller has heard of, empty where there was none. With it a process that was
                restarted makes just the batches that the one before it would have made. None:
                nobody keeps states.

        Returns:
            The images of each round, (B, C, H, W) uint8, then the list of their records:
            provenance, number of `images`, `staleness` in student versions, `started` and
            `finished` in Unix seconds, `idle` seconds since the last batch, `memory`: most bytes
            held so far, `refusal`: why the bank should not take it, or None. Of a batch that
            diverged there are no images and the refusal alone. Last, unless `left` is None, the
            state after the call.
        """
        if not self.begun:
            self._go_on_from(left)
        batches, records = zip(*(self._synthesize(*each) for each in rounds), strict=True)
        states = [] if left is None else [packed(self.synthesizer.state_dict())]
        return (*batches, list(records), *states)

    def _synthesize(self, round: int, attempt: int) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        news = self._news(round)
        self._read(news)
        started = self._unix()
        idle = 0.0 if self.finished is None else started - self.finished
        try:
            batch, update = self._make(round, attempt)
        except FloatingPointError as error:
            self._finish(news)
            return np.zeros(0, np.uint8), {"refusal": str(error)}
        self.finished = self._unix()
        images = batch.images.cpu().numpy()
        refusal = refusal_of(images)
        state = packed(self.synthesizer.state_dict()) if news.leave_state and not refusal else None
        record = {
            "provenance": batch.provenance,
            "images": len(images),
            "staleness": self._finish(news, None if refusal else update, state),
            "started": started,
            "finished": self.finished,
            "idle": idle,
            "memory": peak_memory_bytes(self.device),
            "refusal": refusal,
            "note": batch.provenance.note,
        }
        return images, record

    def _make(self, round: int, attempt: int) -> tuple[SyntheticBatch, MetaUpdate | None]:
        """A batch, and what it teaches a generator that is not this actor's own."""
        if not self.shared:
            return self.synthesizer.synthesize(round, attempt), None
        batch, made = self.synthesizer.make(round, attempt)
        return batch, MetaUpdate(round, [tensor.cpu() for tensor in made.tensors])

    def _build(self, device: str) -> tuple[Synthesizer, Any]:
        """The synthesizer as a run begins with it, and the state that the board has of it."""
        reference, state = insist(lambda: self.board.parts.remote(self.index), "the weight board")
        parts: Experiment = ray.get(reference[0])
        return parts.synthesizer(device, self.index), state

    def _go_on_from(self, left: list[Any] | None) -> None:
        """Become, before this process's first batch, what the synthesizer was (`synthesize`)."""
        state = self.on_board
        if left is not None:
            try:
                state = ray.get(left[0]) if left else None
            except ObjectLostError as error:
                log.warning("synthesizer %d: its state is lost with a node: %s", self.index, error)
        if state is not None:
            self.synthesizer.load_state_dict(unpacked(state))
        self.on_board, self.begun = None, True

    def _ask(self, method: str, *args: Any) -> Any:
        call = getattr(self.board, method)
        return insist(lambda: call.remote(self.index, *args), "the weight board")

    def _news(self, round: int) -> News:
        """The weights that a round begins with; they may be on their way to the board.

        Without a limit: a trainer that was restarted comes to them again, however long it takes,
        and a run that ends kills this actor.
        """
        pause, longest = EARLY_PAUSES
        while (news := self._ask("begin", round)) == EARLY:
            time.sleep(pause)
            pause = min(2 * pause, longest)
        return news  # type: ignore[no-any-return]

    def _finish(self, news: News, update: MetaUpdate | None = None, state: Any = None) -> int:
        """Tell the board of a batch's end; returns how stale its student is by then."""
        return self._ask("finish", update, state) if news.hear_of_end else 0

    def _read(self, news: News) -> None:
        if news.student is not None:
            weights = unpacked(ray.get(news.student[0]))
            self.synthesizer.load_student(weights, news.student_version)
        if news.generator is not None:
            self.synthesizer.load_generator(ray.get(news.generator[0]))


def refusal_of(images: npt.NDArray[np.uint8]) -> str | None:
    """Why a batch teaches nothing: all its images are the same flat colour."""
    if images.min() == images.max():
        return f"every pixel of its {len(images)} images is {images.flat[0]}"
    return None
