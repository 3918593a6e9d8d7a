"""A synthesizer as an actor: the newest weights in, one batch out, a call for each round."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import ray

from fastdfkd.core.interfaces import MetaUpdate
from fastdfkd.trainers.weights import to_tensors

if TYPE_CHECKING:
    from fastdfkd.experiment import Experiment
    from fastdfkd.platform.weight_board import News


@ray.remote(max_restarts=-1, max_task_retries=0)
class SynthesizerActor:
    """Holds a teacher, the latest student and a meta-generator on its own device.

    The caller of `synthesize` owns the images, so they outlive this actor. The board is found by
    name: a restartable actor's arguments should not need the object store.
    """

    def __init__(
        self,
        board: str,
        index: int,
        device: str,
        threads: int,
        shared: bool,
    ):
        import torch

        torch.set_num_threads(threads)
        self.board: Any = ray.get_actor(board)
        self.index, self.shared = index, shared
        parts: Experiment = self._parts()
        self.synthesizer = parts.synthesizer(device, index)
        self.student_version = -1
        self.generator_version = -1 if shared else 0
        self.finished: float | None = None

    def _parts(self) -> Any:
        reference: Any = ray.get(self.board.parts.remote())
        return ray.get(reference[0])

    def synthesize(self, round: int) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        """Make batch number `round`.

        Returns:
            Images (B, C, H, W) uint8, and a record: provenance, `labels`, `staleness` in student
            versions, `started` and `finished` in Unix seconds, `idle` seconds since the last batch.
        """
        waited = time.time()
        idle = 0.0 if self.finished is None else waited - self.finished
        news = self.board.begin.remote(
            self.index, round, self.student_version, self.generator_version
        )
        self._read(ray.get(news))
        started = time.time()
        if self.shared:
            batch, made = self.synthesizer.make(round)
            update = MetaUpdate(round, [tensor.cpu() for tensor in made.tensors])
        else:
            batch, update = self.synthesizer.synthesize(round), None
        self.finished = time.time()
        staleness = ray.get(self.board.finish.remote(self.index, update))
        record = {
            "provenance": batch.provenance,
            "labels": batch.labels.cpu().numpy(),
            "staleness": staleness,
            "started": started,
            "finished": self.finished,
            "idle": idle,
        }
        return batch.images.cpu().numpy(), record

    def _read(self, news: News) -> None:
        if news.student is not None:
            weights = to_tensors(ray.get(news.student[0]))
            self.synthesizer.load_student(weights, news.student_version)
            self.student_version = news.student_version
        if news.generator is not None:
            state = ray.get(news.generator[0])
            self.synthesizer.meta.load_state_dict(state)  # type: ignore[attr-defined]
            self.generator_version = news.generator_version
