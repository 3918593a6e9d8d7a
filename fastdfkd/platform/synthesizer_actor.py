"""A synthesizer as an actor: for each round it reads the newest weights and makes one batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import ObjectLostError

from fastdfkd.core.batch import SyntheticBatch
from fastdfkd.core.clock import SteadyTime
from fastdfkd.core.interfaces import MetaUpdate, Synthesizer
from fastdfkd.core.memory import keep_freed_memory, peak_memory_bytes
from fastdfkd.platform.idle_steps import IdleSteps
from fastdfkd.platform.weight_board import NOT_READY, RoundInputs
from fastdfkd.trainers.calls import call_until_answered
from fastdfkd.trainers.gpu_share import limit_gpu_memory
from fastdfkd.trainers.weights import to_arrays, to_tensors

if TYPE_CHECKING:
    from fastdfkd.experiment import Experiment

log = logging.getLogger(__name__)

NOT_READY_PAUSES = 0.001, 0.01
"""First and longest pause, in seconds, before asking again for a student that is `NOT_READY`."""


@ray.remote(max_restarts=-1, max_task_retries=0)
class SynthesizerActor:
    """Holds a teacher, the latest student and a meta-generator on its own device.

    The caller of `synthesize` owns the returned objects, so they outlive this actor. A restarted
    actor continues from the state that the caller passes, or else from the state last left on the
    board. The board is passed by name, because the constructor arguments of a restartable actor
    should not need the object store.
    """

    def __init__(
        self, board: str, index: int, device: str, threads: int, shared: bool, use_idle: bool
    ):
        import torch

        torch.set_num_threads(threads)
        keep_freed_memory()
        limit_gpu_memory(device)
        self.board: Any = ray.get_actor(board)
        self.index, self.shared = index, shared
        self.device = device
        self.synthesizer: Synthesizer
        self.synthesizer, self.board_state = self._build(device)
        self.idle_steps = IdleSteps(self.synthesizer.steps) if use_idle else None
        self.state_loaded = False
        self.finished: float | None = None
        """Unix time at which the last batch was finished."""
        self._unix = SteadyTime()

    def ready(self) -> bool:
        """Answers once the actor is built, and again after a restart."""
        return True

    @ray.method(num_returns=2)  # for one round; n + 1 for n rounds; one more with a state
    def synthesize(
        self, rounds: Sequence[tuple[int, int]], last_state: list[Any] | None = None
    ) -> tuple[Any, ...]:
        """Make the batches of some rounds, one after the other.

        Args:
            rounds: (number, attempt) of each; a refused batch is made again with the next attempt.
            last_state: list with the reference to this synthesizer's state after its last
                successful call; empty if there was none. With it a restarted process makes the same
                batches as the one that died. None: no states are exchanged.

        Returns:
            The images of each round, (B, C, H, W) uint8. Then the list of their records, each with
            `provenance`, number of `images`, `staleness` in student versions, `started` and
            `finished` in Unix seconds, `idle` seconds since the last batch, peak `memory` so far in
            bytes, `refusal` (why the bank should not take the batch, or None) and `notes`
            (deviations from the recipe, a line each). A batch that diverged has no images and only
            a `refusal`. Last, unless `last_state` is None, the state after the call.
        """
        if not self.state_loaded:
            self._load_state(last_state)
        batches, records = zip(*(self._synthesize(*each) for each in rounds), strict=True)
        states = [] if last_state is None else [to_arrays(self.synthesizer.state_dict())]
        return (*batches, list(records), *states)

    def _notes(self) -> Sequence[str]:
        """The synthesizer's notes; a user's class need not have any."""
        return getattr(self.synthesizer, "notes", ())

    def _synthesize(self, round: int, attempt: int) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        inputs = self._begin(round)
        self._load_weights(inputs)
        started = self._unix()
        idle = 0.0 if self.finished is None else started - self.finished
        try:
            batch, update = self._make(round, attempt)
        except FloatingPointError as error:
            self._finish(inputs)
            return np.zeros(0, np.uint8), {"refusal": str(error)}
        self.finished = self._unix()
        if self.idle_steps is not None:
            self.idle_steps.saw(self.finished - started, idle)
            self.synthesizer.steps = self.idle_steps.steps
        images = batch.images.cpu().numpy()
        refusal = refusal_of(images)
        bring_state = inputs.bring_state and not refusal
        state = to_arrays(self.synthesizer.state_dict()) if bring_state else None
        record = {
            "provenance": batch.provenance,
            "images": len(images),
            "staleness": self._finish(inputs, None if refusal else update, state),
            "started": started,
            "finished": self.finished,
            "idle": idle,
            "memory": peak_memory_bytes(self.device),
            "refusal": refusal,
            "notes": [note for note in (batch.provenance.note, *self._notes()) if note],
        }
        return images, record

    def _make(self, round: int, attempt: int) -> tuple[SyntheticBatch, MetaUpdate | None]:
        """A batch, and its meta-update if the generator is shared."""
        if not self.shared:
            return self.synthesizer.synthesize(round, attempt), None
        batch, update = self.synthesizer.make(round, attempt)
        return batch, replace(update, tensors=[tensor.cpu() for tensor in update.tensors])

    def _build(self, device: str) -> tuple[Synthesizer, Any]:
        """The synthesizer in its initial state, and its newest state on the board."""
        reference, state = call_until_answered(
            lambda: self.board.parts.remote(self.index), "the weight board"
        )
        experiment: Experiment = ray.get(reference[0])
        return experiment.synthesizer(device, self.index), state

    def _load_state(self, last_state: list[Any] | None) -> None:
        """Load `last_state` (see `synthesize`), or else the board's, before the first batch."""
        state = self.board_state
        if last_state is not None:
            try:
                state = ray.get(last_state[0]) if last_state else None
            except ObjectLostError as error:
                log.warning(
                    "synthesizer %d: its state was lost with a node; it continues from the "
                    "board's: %s",
                    self.index,
                    error,
                )
        if state is not None:
            self.synthesizer.load_state_dict(to_tensors(state))
        self.board_state, self.state_loaded = None, True

    def _call_board(self, method: str, *args: Any) -> Any:
        call = getattr(self.board, method)
        return call_until_answered(lambda: call.remote(self.index, *args), "the weight board")

    def _begin(self, round: int) -> RoundInputs:
        """Wait for the weights that a round needs.

        There is no time limit: a restarted trainer publishes them again, however long it takes, and
        a run that ends kills this actor.
        """
        pause, longest = NOT_READY_PAUSES
        while (inputs := self._call_board("begin", round)) == NOT_READY:
            time.sleep(pause)
            pause = min(2 * pause, longest)
        return inputs  # type: ignore[no-any-return]

    def _finish(
        self, inputs: RoundInputs, update: MetaUpdate | None = None, state: Any = None
    ) -> int:
        """Report the end of a batch if the board needs it; return the batch's staleness."""
        return self._call_board("finish", update, state) if inputs.report_finish else 0

    def _load_weights(self, inputs: RoundInputs) -> None:
        if inputs.student is not None:
            weights = to_tensors(ray.get(inputs.student[0]))
            self.synthesizer.load_student(weights, inputs.student_version)
        if inputs.generator is not None:
            self.synthesizer.load_generator(ray.get(inputs.generator[0]))


def refusal_of(images: npt.NDArray[np.uint8]) -> str | None:
    """Why a batch is useless: every pixel of all its images has one value. None if it is not."""
    if images.min() == images.max():
        return f"every pixel of its {len(images)} images is {images.flat[0]}"
    return None
