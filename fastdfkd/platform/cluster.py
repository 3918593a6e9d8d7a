"""Joining a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

log = logging.getLogger(__name__)

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.3",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

_ANSWER_SECONDS = 10.0
_ours = threading.Event()


@contextmanager
def connect(
    address: str | None = None, meanwhile: Callable[[], None] | None = None
) -> Iterator[None]:
    """Run a block on a Ray cluster; nested uses share the outer one.

    Without an address, `RAY_ADDRESS` is joined where it is set (as in `ray job submit`), else Ray
    is started on this machine and stopped at the end of the block. `meanwhile` is called while Ray
    starts, in a thread: most of that time this process only waits.

    Raises:
        ConnectionError: no cluster answers at the address.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    wanted = address or os.environ.get("RAY_ADDRESS")
    before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    try:
        _check_reachable(wanted)
        with _beside(meanwhile):
            _start(wanted)
    except (OSError, RuntimeError, ValueError) as error:
        if not wanted:
            raise
        raise ConnectionError(
            f"no Ray cluster answers at {wanted}: {error}. Start one with `ray start --head`, or "
            "leave the address out to run on this machine"
        ) from error
    if not wanted:
        _ours.set()
    try:
        with _orderly_end(before):
            yield
    finally:
        ray.shutdown()
        _ours.clear()


def is_ours() -> bool:
    """Whether `connect` has started the cluster that this process is on."""
    return _ours.is_set()


@contextmanager
def _orderly_end(before: Any) -> Iterator[None]:
    """Have SIGTERM unwind the block, as a handler from before Ray's start does or by SystemExit.

    Ray puts handlers of its own there; the one of its core prints a trace and aborts, so that
    neither MLflow nor the run's folder would say that the run was stopped.
    """
    if threading.current_thread() is not threading.main_thread():  # nor has Ray set one
        yield
        return
    signal.signal(signal.SIGTERM, before if callable(before) else _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(signum: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signum)


@contextmanager
def _beside(work: Callable[[], None] | None) -> Iterator[None]:
    """Have `work` done in a thread beside the block; both have ended after it."""
    thread = threading.Thread(target=work, name="warm-up", daemon=True) if work else None
    if thread:
        thread.start()
    try:
        yield
    finally:
        if thread:
            thread.join()


def _check_reachable(address: str | None) -> None:
    """Ray itself tries a dead `host:port` for minutes."""
    found = re.fullmatch(r"\[?([^\[\]/]+)\]?:(\d+)", address or "")
    if found is not None:
        with socket.create_connection((found[1], int(found[2])), timeout=_ANSWER_SECONDS):
            pass


def _start(address: str | None) -> None:
    """Join, or start here; Ray gives a busy machine 30 s to start, so that is tried twice."""
    import ray

    for attempt in (1, 2):
        try:
            ray.init(
                address or "local",
                logging_level=logging.ERROR,
                include_dashboard=None if address else False,
                log_to_driver=bool(address) or log.isEnabledFor(logging.INFO),
            )
            return
        except Exception as error:
            if address or attempt == 2 or "timed out during startup" not in str(error):
                raise
            log.warning("Ray did not start in time, trying once more: %s", error)
            ray.shutdown()


def cluster_resources() -> dict[str, float]:
    """What the whole cluster has, such as `{"CPU": 2.0, "GPU": 1.0}`."""
    import ray

    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def node_cpus() -> float:
    """Cores of the smallest node that has any: what a process can have wherever it is put."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return min((node["CPU"] for node in nodes if node.get("CPU")), default=1.0)


def node_memory() -> float:
    """Bytes of memory of the largest node, Ray's object store included."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    kinds = ("memory", "object_store_memory")
    return max((sum(node.get(kind, 0.0) for kind in kinds) for node in nodes), default=0.0)


def free_resources() -> dict[str, float]:
    """What of it nobody has taken."""
    import ray

    return dict(ray.available_resources())  # type: ignore[no-untyped-call]
