"""Joining a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn

from fastdfkd.addresses import ray_cluster as addresses
from fastdfkd.platform.own_group import groups_of_their_own
from fastdfkd.platform.places import short_folder, token_without_home

log = logging.getLogger(__name__)

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.3",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # it prints a trace and aborts on SIGTERM
}

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
    wanted = addresses.wanted(address)
    before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    with nullcontext() if wanted else short_folder() as folder:
        try:
            _join_or_start(wanted, folder, meanwhile)
            if wanted is None:
                _ours.set()
            with _orderly_end(before):
                yield
        finally:
            ray.shutdown()
            _ours.clear()


def _join_or_start(
    wanted: str | None, folder: str | None, meanwhile: Callable[[], None] | None
) -> None:
    if wanted is None:
        token_without_home()
    else:
        addresses.check(wanted)
    try:
        with _beside(meanwhile):
            _start(wanted, folder)
    except (OSError, RuntimeError, ValueError) as error:
        if wanted is None:
            raise
        raise ConnectionError(f"the Ray cluster at {wanted} cannot be joined: {error}") from error


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


def _start(address: str | None, folder: str | None) -> None:
    """Join, or start here; Ray gives a busy machine 30 s to start, so that is tried twice."""
    import ray

    for attempt in (1, 2):
        try:
            with groups_of_their_own():
                ray.init(
                    address or "local",
                    logging_level=logging.ERROR,
                    include_dashboard=None if address else False,
                    log_to_driver=bool(address) or log.isEnabledFor(logging.INFO),
                    _temp_dir=folder,
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
