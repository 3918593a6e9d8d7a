"""Processor seconds of single calls of bank, board and driver, for the model of `scaling_model.py`.

The real actors run alone, with one caller. The clock is the processor time of their process, whose
unit is 10 ms: each figure is of enough calls to last some tenths of a second.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
import torch

from benchmarks.scaling_run import POLL_SECONDS, bank_and_board, pid_of
from fastdfkd.core.batch import Provenance
from fastdfkd.core.batch_figures import BatchFigures
from fastdfkd.core.interfaces import MetaUpdate
from fastdfkd.core.meta_gradient import MetaGenerator
from fastdfkd.platform.accounting import BatchRecord, SynthesisTotals
from fastdfkd.platform.dispatcher import Dispatcher
from fastdfkd.platform.history import History
from fastdfkd.platform.monitor import progress_row
from fastdfkd.platform.sample_bank import Insertion
from fastdfkd.recipe import Recipe
from fastdfkd.trainers.checkpoint import CheckpointFolder

CALLS = 400
WAITING = 64
"""Calls that wait at the bank while it inserts."""
NEVER = 10**9
"""More updates than a bank ever allows: a request with it waits."""
BYTES = 50 * 10**6
"""Bytes that the measurements of weights and checkpoints send, at least ten calls."""


def used(process: psutil.Process) -> float:
    """Processor seconds, user and system, of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def calm(batches: int) -> Iterator[tuple[Any, Any]]:
    """Bank and board of a run of `batches` rounds that may all be made at once."""
    with bank_and_board(batches, batches, batches) as (bank, board, _):
        ray.get(bank.restore.remote([], 0, []))
        yield bank, board


def a_call(actor: Any, call: Callable[[int], object], calls: int) -> float:
    """Processor seconds of an actor for each of `calls` calls, one after the other."""
    process = psutil.Process(pid_of(actor))
    call(0)
    before = used(process)
    for number in range(1, calls + 1):
        call(number)
    return (used(process) - before) / calls


def bank_seconds() -> dict[str, float]:
    """Of an insertion, of a trainer's request, and of a waiting call at each insertion."""
    images = ray.put(np.zeros(1, np.uint8))
    with calm(4 * CALLS) as (bank, _):
        rounds = ray.get(bank.reserve.remote(0, 1))

        def insert(_: int) -> None:
            rounds[:] = ray.get(bank.insert.remote([Insertion(0, list(rounds), [images], 1)]))[0]

        alone = a_call(bank, insert, CALLS)
        seen = CALLS
        request = a_call(bank, lambda _: ray.get(bank.grant.remote(0, seen, False)), CALLS)
        waiting = [bank.grant.remote(NEVER, 0, False) for _ in range(WAITING)]
        crowded = a_call(bank, insert, CALLS // 2)
        del waiting
    wake = max(crowded - alone, 0.0) / WAITING
    return {"bank_round": alone, "bank_request": request, "bank_wake": wake}


def board_seconds() -> float:
    """Of `begin` and `finish` without weights."""
    with calm(2 * CALLS) as (_, board):

        def both(number: int) -> None:
            ray.get(board.begin.remote(0, number))
            ray.get(board.finish.remote(0, None, None))

        return a_call(board, both, CALLS)


def driver_idle(seconds: float = 2.0) -> float:
    """Load of the driver that waits for a run in which nothing happens."""
    process = psutil.Process()
    with calm(1) as (bank, board), Dispatcher(bank, board, [], History(1)):
        never = bank.grant.remote(NEVER, 0, False)
        before, end = used(process), time.time() + seconds
        while time.time() < end:
            ray.wait([never], timeout=POLL_SECONDS)
    return (used(process) - before) / seconds


def publication_seconds(weights: Mapping[str, Any]) -> float:
    """Of a published student."""
    size = sum(array.nbytes for array in weights.values())
    with calm(10) as (_, board):
        publish = board.publish
        return a_call(
            board,
            lambda number: ray.get(publish.remote(weights, number + 1)),
            max(BYTES // size, 10),
        )


def generator_seconds(meta: MetaGenerator, without: float) -> float:
    """Of a shared generator in a round: it is sent, its update received and learned.

    Args:
        meta: the generator.
        without: `board_seconds`.
    """
    tensors = [parameter.detach().clone() for parameter in meta.generator.parameters()]
    size = sum(tensor.nbytes for tensor in tensors)
    calls = max(BYTES // size, 10)
    with calm(2 * calls) as (_, board):
        student: dict[str, Any] = {"student": {}, "version": 0}
        ray.get(board.restore.remote([None], student, meta))

        def both(number: int) -> None:
            ray.get(board.begin.remote(0, number))
            ray.get(board.finish.remote(0, MetaUpdate(number, tensors), None))

        with_it = a_call(board, both, calls)
    return max(with_it - without, 0.0)


def row_seconds(rounds: int, repeats: int) -> float:
    """Of a progress row in the driver after `rounds` rounds, without writing it."""
    figures = BatchFigures(confidence=0.5, classes={0: 1}, distinct=1.0)
    record = {
        "provenance": Provenance(round=0, figures=figures, losses={"loss": 1.0, "bn": 1.0}),
        "images": 1,
        "staleness": 0,
        "idle": 0.0,
        "memory": 0,
    }
    totals = SynthesisTotals([BatchRecord.of(record, 0.0) for _ in range(rounds)], started=0.0)
    names = ("waiting_seconds", "distillation_seconds", "loading_seconds", "lost_rounds", "ended")
    row = dict.fromkeys(names, 1.0)
    began = time.process_time()
    for _ in range(repeats):
        progress_row(row, totals)
        [record.figures for record in totals.records]  # for the watch of the images
    return (time.process_time() - began) / repeats


def driver_row_seconds() -> dict[str, float]:
    """Of a progress row: what does not grow, and what each round so far adds."""
    few, many = row_seconds(100, 100), row_seconds(10_000, 10)
    each = (many - few) / 9_900
    return {"driver_row": max(few - 100 * each, 0.0), "driver_row_record": each}


def checkpoint_byte_seconds(shape: tuple[int, ...]) -> float:
    """Of a byte of images that the driver writes into a checkpoint."""
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, shape, dtype=np.uint8)
    count = max(BYTES // images.nbytes, 2)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = CheckpointFolder(Path(folder))
        began = time.process_time()
        checkpoints.save(1, {}, dict.fromkeys(range(count), images), range(count))
        return (time.process_time() - began) / (count * images.nbytes)


def meta_of(recipe: Recipe, shape: tuple[int, ...]) -> MetaGenerator:
    """The shared generator of a recipe of Fast, for images (C, H, W)."""
    return MetaGenerator(recipe.synthesis, shape, recipe.seed)  # type: ignore[arg-type]


def arrays_of(network: torch.nn.Module) -> dict[str, Any]:
    """A network's weights as the trainer publishes them."""
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}
