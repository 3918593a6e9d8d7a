"""Connect to a Ray cluster, or start one on this machine."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from fastdfkd.addresses import ray_cluster as addresses
from fastdfkd.platform.own_group import own_process_groups
from fastdfkd.platform.places import SPILL_FOLDER, short_folder, token_without_home

log = logging.getLogger(__name__)

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.3",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # it prints a stack trace and aborts on SIGTERM
}
_STARTS = 3
"""How often a start of Ray is tried."""

_sessions: list[Path] = []
"""The folder of the Ray that this process started, while it runs."""


@contextmanager
def connect(
    address: str | None = None, meanwhile: Callable[[], None] | None = None
) -> Iterator[None]:
    """Run a block on a Ray cluster; nested calls reuse the outer connection.

    Args:
        address: cluster to join. None: join `RAY_ADDRESS` if set (as in a Ray job), else start Ray
            on this machine and stop it at the end of the block.
        meanwhile: called in a thread while Ray starts, which is mostly waiting.

    Raises:
        ConnectionError: no cluster answers at the address, or Ray does not start here.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    target = addresses.resolve_address(address)
    handler = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    with nullcontext() if target else short_folder() as folder:
        try:
            context = _join_or_start(target, folder, meanwhile)
            if target is None:
                _sessions.append(Path(context.address_info["session_dir"]))
            with _sigterm_unwinds(handler):
                yield
        finally:
            ray.shutdown()
            _sessions.clear()


def _join_or_start(
    address: str | None, folder: str | None, meanwhile: Callable[[], None] | None
) -> Any:
    if address is None:
        token_without_home()
    else:
        addresses.check(address)
    try:
        with _in_background(meanwhile):
            return _init_ray(address, folder)
    except (OSError, RuntimeError, ValueError) as error:
        if address is None:
            raise
        raise ConnectionError(f"the Ray cluster at {address} cannot be joined: {error}") from error


def is_own() -> bool:
    """Whether `connect` started the cluster that this process is connected to."""
    return bool(_sessions)


def spill_folder() -> Path | None:
    """Where the Ray that `connect` started writes objects for which its store has no memory.

    None in a cluster of others: each of its nodes was started with a folder of its own.
    """
    if not _sessions:
        return None
    return Path(os.environ.get(SPILL_FOLDER) or _sessions[-1])


@contextmanager
def _sigterm_unwinds(handler: Any) -> Iterator[None]:
    """Restore the SIGTERM handler that Ray replaced; without one SIGTERM raises SystemExit.

    The handler of Ray's core prints a stack trace and aborts, so neither MLflow nor the run's
    folder would record that the run was stopped.
    """
    if threading.current_thread() is not threading.main_thread():  # Ray sets none there either
        yield
        return
    signal.signal(signal.SIGTERM, handler if callable(handler) else _raise_system_exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _raise_system_exit(signum: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signum)


@contextmanager
def _in_background(work: Callable[[], None] | None) -> Iterator[None]:
    """Run `work` in a thread during the block, and wait for it at the end."""
    thread = threading.Thread(target=work, name="warm-up", daemon=True) if work else None
    if thread:
        thread.start()
    try:
        yield
    finally:
        if thread:
            thread.join()


def _init_ray(address: str | None, folder: str | None) -> Any:
    """Join or start Ray. On a busy machine a start can exceed Ray's limit, so it is tried again.

    Returns:
        What `ray.init` returns.

    Raises:
        ConnectionError: Ray did not start within its limit, at any try.
    """
    import ray

    for attempt in range(1, _STARTS + 1):
        try:
            with own_process_groups():
                return ray.init(
                    address or "local",
                    logging_level=logging.ERROR,
                    include_dashboard=None if address else False,
                    log_to_driver=bool(address) or log.isEnabledFor(logging.INFO),
                    _temp_dir=folder,
                )
        except Exception as error:
            if address or "timed out during startup" not in str(error):
                raise
            if attempt == _STARTS:
                raise ConnectionError(_no_start()) from error
            log.warning("Ray did not start in time; trying once more: %s", error)
            ray.shutdown()


def _no_start() -> str:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    return (
        f"Ray did not start: expected its processes to be up within Ray's limit of 30 s, which was "
        f"exceeded {_STARTS} times (this machine's load is {load:.1f}, it has {cores} cores). Try "
        "again when it is less busy, or join a cluster that runs already with --address"
    )


def cluster_resources() -> dict[str, float]:
    """Total resources of the cluster, such as `{"CPU": 2.0, "GPU": 1.0}`."""
    import ray

    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def node_cpus() -> float:
    """Cores of the smallest node that has any: what a process can use on every node."""
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
    """Resources of the cluster that are not in use."""
    import ray

    return dict(ray.available_resources())  # type: ignore[no-untyped-call]
