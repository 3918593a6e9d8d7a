"""`fastdfkd doctor`: what of this machine a run will use, and what is wrong with it.

Nothing is started and nothing is written but a file that is removed at once. Each check is a
function that yields its findings; a check that fails for an unforeseen reason is a finding too.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from fastdfkd.runs.environment import hardware, versions
from fastdfkd.text.shown import reason, shown_name

_GB = 1e9
_LEAST_MEMORY_GB = 4.0
"""Ray, MLflow and a sample run with one synthesizer take about 3 GB."""
_LEAST_DISK_GB = 2.0
_RAY_FULL_DISK = 0.95
"""Share of a disk above which Ray stops spilling objects and warns all the time."""
_LEAST_SHARED_MEMORY_GB = 1.0
_LEAST_OPEN_FILES = 1024
_PORTS = {"ui": 5000}
"""By the command that uses them."""
_FOR_DEVELOPERS = ("dev", "strangers")
"""Extras that users do not need."""
Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    subject: str
    """What was checked, for example `free memory`."""
    level: Level
    """`note`: a run works, but not as well as it could. `problem`: some runs fail."""
    text: str
    """What is there."""
    remedy: str = ""
    """What to do about it; empty if nothing."""

    def facts(self) -> dict[str, Any]:
        """The finding as plain data for JSON."""
        return asdict(self)


def examine() -> list[Finding]:
    """All findings, in the order in which a report shows them."""
    found: list[Finding] = []
    for subject, check in _CHECKS.items():
        try:
            found += check()
        except Exception as error:  # a report must not fail because one check does
            text = f"could not be checked: {reason(error)}"
            found.append(Finding(subject, "note", text))
    return found


def _check_packages() -> Iterator[Finding]:
    """Python, and the packages that pyproject.toml asks for, against what is installed."""
    shown = ", ".join(f"{name} {number}" for name, number in versions().items())
    yield Finding("versions", "ok", shown)
    extras: dict[str, list[str]] = {}
    for line in requires("fastdfkd") or []:
        needed = Requirement(line)
        extra = _extra_of(needed)
        elsewhere = not extra and needed.marker is not None and not needed.marker.evaluate()
        if elsewhere or extra in _FOR_DEVELOPERS:
            continue
        if extra:
            extras.setdefault(extra, []).extend([] if _fits(needed) else [needed.name])
        elif not _fits(needed):
            came = _installed(needed.name) or "not installed"
            yield Finding(
                needed.name,
                "problem",
                f"expected {needed.name}{needed.specifier}, found {came}",
                f"pip install '{needed.name}{needed.specifier}'",
            )
    present = sorted(extra for extra, missing in extras.items() if not missing)
    absent = sorted(extra for extra, missing in extras.items() if missing)
    text = (
        f"installed: {', '.join(present) or 'none'}; not installed: {', '.join(absent) or 'none'}"
    )
    yield Finding(
        "extras", "ok", text, "" if not absent else f"pip install 'fastdfkd[{absent[0]}]'"
    )


def _extra_of(needed: Requirement) -> str:
    """Name of the extra that asks for a requirement; empty if every installation needs it."""
    marker = str(needed.marker or "")
    return marker.partition("extra == ")[2].split()[0].strip("\"')") if "extra ==" in marker else ""


def _fits(needed: Requirement) -> bool:
    """Whether a requirement is installed, with what its own extras ask for."""
    there = _installed(needed.name)
    if there is None or not needed.specifier.contains(there, prereleases=True):
        return False
    inside = map(Requirement, requires(needed.name) or [] if needed.extras else [])
    return all(
        _fits(each)
        for each in inside
        if each.marker and any(each.marker.evaluate({"extra": extra}) for extra in needed.extras)
    )


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _check_processor() -> Iterator[Finding]:
    import torch

    from fastdfkd.core.precision import resolve_precision

    facts = hardware()
    precision = resolve_precision(torch.device("cpu"), "auto")
    text = f"{facts['processor']}, {facts['cores']:g} cores; precision auto is {precision}"
    yield Finding("processor", "ok", text)


def _check_gpus() -> Iterator[Finding]:
    import torch

    named, usable = hardware()["gpus"], torch.cuda.is_available()
    if usable:
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        yield Finding("GPU", "ok", ", ".join(names))
    elif not named:
        yield Finding("GPU", "ok", "none: runs use the CPU")
    else:
        build = torch.version.cuda
        found = f"{', '.join(named)}, which torch {torch.__version__} cannot use"
        remedy = (
            f"its CUDA {build} needs a newer driver; `nvidia-smi` shows yours"
            if build
            else "this torch is a build for CPUs: install the one for CUDA (https://pytorch.org)"
        )
        yield Finding("GPU", "problem", found, remedy)


def _check_memory() -> Iterator[Finding]:
    import psutil

    total = hardware()["memory_gib"] * 2**30 / _GB
    free = min(psutil.virtual_memory().available / _GB, total)
    text = f"{free:.1f} of {total:.1f} GB"
    if free < _LEAST_MEMORY_GB:
        remedy = f"a sample run needs about {_LEAST_MEMORY_GB:g} GB: close other programs"
        yield Finding("free memory", "problem", text, remedy)
    else:
        yield Finding("free memory", "ok", text)


def _check_shared_memory() -> Iterator[Finding]:
    """Ray keeps images in /dev/shm, or in files under /tmp if that is small."""
    shared = Path("/dev/shm")
    if not shared.is_dir():
        yield Finding("shared memory", "note", "there is no /dev/shm: Ray keeps images in files")
        return
    free = shutil.disk_usage(shared).free / _GB
    text = f"{free:.1f} GB free in /dev/shm"
    if free < _LEAST_SHARED_MEMORY_GB:
        remedy = "Ray keeps images in slower files: in a container, start it with --shm-size=4g"
        yield Finding("shared memory", "note", text, remedy)
    else:
        yield Finding("shared memory", "ok", text)


def _check_disks() -> Iterator[Finding]:
    from fastdfkd.data import cache_folder
    from fastdfkd.runs.folder import runs_folder

    for what, folder, remedy in (
        ("runs", runs_folder(), "name another folder with --out, or start in a writable one"),
        ("cache", cache_folder(), "set FASTDFKD_HOME to a writable folder"),
        ("temporary files", Path(tempfile.gettempdir()), "set TMPDIR to a writable folder"),
    ):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        usage = shutil.disk_usage(existing)
        text = f"{usage.free / _GB:.1f} GB free for {shown_name(folder)}"
        if not _writable(existing):
            yield Finding(what, "problem", f"{shown_name(existing)} is not writable", remedy)
        elif usage.free / _GB < _LEAST_DISK_GB:
            yield Finding(what, "problem", text, "make room: `fastdfkd clean` removes checkpoints")
        elif what == "temporary files" and usage.used / usage.total > _RAY_FULL_DISK:
            yield Finding(what, "note", text, "the disk is 95 % full: Ray does not spill to it")
        else:
            yield Finding(what, "ok", text)


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _check_open_files() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _LEAST_OPEN_FILES:
        remedy = f"Ray may run out of them: ulimit -n {min(hard, 65536)}"
        yield Finding("open files", "note", f"at most {soft} at a time", remedy)
    else:
        yield Finding("open files", "ok", f"at most {soft:,} at a time")


def _check_ray() -> Iterator[Finding]:
    """The cluster that runs join, and the token for it."""
    from fastdfkd.addresses import ray_cluster, ray_token

    address = ray_cluster.resolve_address(None)
    if address is None:
        yield Finding("Ray", "ok", "RAY_ADDRESS is unset: each run starts Ray on this machine")
    else:
        try:
            ray_cluster.check(address)
            yield Finding("Ray", "ok", f"a cluster answers at RAY_ADDRESS, {address}")
        except (ValueError, OSError) as error:
            yield Finding("Ray", "problem", str(error), "set RAY_ADDRESS to a cluster, or unset it")
    there = ray_token.available()
    text = f"in {ray_token.source()}" if there else "none: only clusters without one can be joined"
    yield Finding("Ray token", "ok", text)


def _check_store() -> Iterator[Finding]:
    """The MLflow store, without creating it."""
    from fastdfkd.tracking import TrackingError, check_reachable, store_uri

    try:
        uri = store_uri()
        file = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
        if file is None:
            check_reachable(uri)
            yield Finding("MLflow store", "ok", f"{uri} answers")
        elif file.exists():
            with sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True) as database:
                (count,) = database.execute("SELECT count(*) FROM runs").fetchone()
            yield Finding("MLflow store", "ok", f"{shown_name(file)}, {count} runs")
        else:
            yield Finding("MLflow store", "ok", f"{shown_name(file)}, which the first run creates")
    except TrackingError as error:
        yield Finding("MLflow store", "problem", str(error))
    except sqlite3.Error as error:
        remedy = "move the file away, or set MLFLOW_TRACKING_URI to another store"
        yield Finding("MLflow store", "problem", f"{uri} cannot be read: {reason(error)}", remedy)


def _check_ports() -> Iterator[Finding]:
    for what, port in _PORTS.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                yield Finding(f"port {port}", "ok", f"free, for `fastdfkd {what}`")
            except OSError:
                remedy = f"fastdfkd {what} --port {port + 1}"
                yield Finding(f"port {port}", "note", "in use", remedy)


def _check_bytecode() -> Iterator[Finding]:
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        text = "not kept: every process compiles torch, Ray and MLflow anew, which takes 6 s"
        yield Finding("bytecode", "note", text, "unset PYTHONDONTWRITEBYTECODE")


_CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "packages": _check_packages,
    "bytecode": _check_bytecode,
    "processor": _check_processor,
    "GPU": _check_gpus,
    "free memory": _check_memory,
    "shared memory": _check_shared_memory,
    "disks": _check_disks,
    "open files": _check_open_files,
    "Ray": _check_ray,
    "MLflow store": _check_store,
    "ports": _check_ports,
}
