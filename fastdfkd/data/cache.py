"""The cache folder, which keeps what takes long to make between runs: images, trained teachers."""

from __future__ import annotations

import io
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdfkd.runs.files import write_whole

_VARIABLE = "FASTDFKD_HOME"
log = logging.getLogger(__name__)
Bytes = npt.NDArray[np.uint8]


def cache_folder() -> Path:
    """`$FASTDFKD_HOME`, or `~/.cache/fastdfkd`. It need not exist and may be deleted."""
    home = os.environ.get(_VARIABLE)
    return Path(home).expanduser() if home else Path(os.path.expanduser("~/.cache/fastdfkd"))


def use_fallback_cache(folder: Path) -> None:
    """Use `folder` as the cache if `~/.cache/fastdfkd` is not writable, and log a warning.

    The home folder of a container whose user id differs may be missing or belong to another user.
    If `FASTDFKD_HOME` is set, it is used as it is, and errors in it are not avoided.
    """
    if os.environ.get(_VARIABLE) or _writable(cache_folder()):
        return
    log.warning(
        "%s is not writable: the cache is now %s. Set %s to a folder that is kept between runs",
        cache_folder(),
        folder,
        _VARIABLE,
    )
    os.environ[_VARIABLE] = str(folder)
    os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))


def _writable(folder: Path) -> bool:
    """Whether a folder can be created and written to. False if the home folder is unknown (`~`)."""
    if not folder.is_absolute():
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def cached_arrays(
    name: str, shapes: Mapping[str, tuple[int, ...]], make: Callable[[], dict[str, Bytes]]
) -> dict[str, Bytes]:
    """Read uint8 arrays from `data/<name>.npz` in the cache; make and store them if needed.

    Args:
        name: must be another one whenever `make` returns other arrays.
        shapes: expected shape of each array. A file with other shapes counts as damaged.
        make: is called only if the file is missing or damaged.
    """
    path = cache_folder() / "data" / f"{name}.npz"
    kept = _read(path)
    if all(_fits(kept.get(key), shape) for key, shape in shapes.items()):
        return kept
    arrays = make()
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content.getvalue())
    except OSError as error:
        log.warning("%s cannot be stored for the next run: %s", path, error.strerror or error)
    return arrays


def _read(path: Path) -> dict[str, Any]:
    """Arrays of a file; none if it is missing or damaged. Nothing is unpickled."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile):
        return {}


def _fits(array: Any, shape: tuple[int, ...]) -> bool:
    return array is not None and array.shape == shape and array.dtype == np.uint8
