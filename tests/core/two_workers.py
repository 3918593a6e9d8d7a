"""Runs a function in two processes with a process group."""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import distributed

Function = Callable[[int], Any]
_SECONDS = 120


def in_two_workers(function: Function, backend: str = "gloo") -> list[Any]:
    """What a function returns in each of two processes.

    The first one is new and imports what the function needs; the second one is its fork, so that
    these seconds are spent once.

    Args:
        function: of a module; it gets the rank.
        backend: of the process group.

    Raises:
        RuntimeError: one of them failed, or took too long; the message has the traceback.
    """
    new = multiprocessing.get_context("spawn")
    here, there = new.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        process = new.Process(target=_both, args=(function, backend, store, there))
        process.start()
        there.close()
        try:
            return _result(here)
        finally:
            process.join(10)
            process.kill()


def _both(function: Function, backend: str, store: Path, end: Connection) -> None:
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    arguments = (function, 1, backend, store, there)
    second = fork.Process(target=_work, args=arguments, daemon=True)
    second.start()
    there.close()
    mine, its = fork.Pipe(duplex=False)
    _work(function, 0, backend, store, its)
    answers = [pickle.loads(mine.recv_bytes()), pickle.loads(here.recv_bytes())]
    failures = [failure for failure, _ in answers if failure]
    end.send_bytes(pickle.dumps(("\n".join(failures), [result for _, result in answers])))
    second.join(10)


def _work(function: Function, rank: int, backend: str, store: Path, end: Connection) -> None:
    """Send a traceback, empty if all went well, and the function's result."""
    torch.set_num_threads(1)
    where, limit = f"file://{store}", timedelta(seconds=_SECONDS / 2)
    try:
        distributed.init_process_group(
            backend, init_method=where, rank=rank, world_size=2, timeout=limit
        )
        answer = "", function(rank)
        distributed.destroy_process_group()
    except BaseException:
        answer = traceback.format_exc(), None
    end.send_bytes(pickle.dumps(answer))  # `send` would share memory, which ends with the process


def _result(end: Connection) -> Any:
    if not end.poll(_SECONDS):
        raise RuntimeError(f"two workers did not answer within {_SECONDS} s")
    failure, results = pickle.loads(end.recv_bytes())
    if failure:
        raise RuntimeError(failure)
    return results
