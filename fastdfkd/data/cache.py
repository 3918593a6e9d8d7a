"""Where made things are kept between runs: rendered glyphs, trained sample teachers."""

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
    """`$FASTDFKD_HOME`, or `~/.cache/fastdfkd`. It need not exist yet; deleting it is safe."""
    home = os.environ.get(_VARIABLE)
    return Path(home).expanduser() if home else Path(os.path.expanduser("~/.cache/fastdfkd"))


def cache_somewhere(folder: Path) -> None:
    """Have `folder` be the cache where the home cannot be written to, and say so.

    Containers with another user id have no home, or another's. Whoever names `FASTDFKD_HOME` has
    decided: what fails there is told.
    """
    if os.environ.get(_VARIABLE) or _writable(cache_folder()):
        return
    log.warning(
        "%s cannot be written to: what is cached goes to %s. Set %s to a folder that lasts",
        cache_folder(),
        folder,
        _VARIABLE,
    )
    os.environ[_VARIABLE] = str(folder)
    os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))


def _writable(folder: Path) -> bool:
    """Whether a folder can be made and written to; not where `~` stands for an unknown home."""
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
    """The uint8 arrays kept as `data/<name>.npz`, made (again) where they are not there whole.

    Args:
        name: has to change whenever `make` would give other arrays.
        shapes: what each array's shape has to be; a file that differs counts as damaged.
        make: called only if the file is missing or damaged.
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
        log.warning("%s cannot be kept for the next run: %s", path, error.strerror or error)
    return arrays


def _read(path: Path) -> dict[str, Any]:
    """Arrays of a file, none where it is missing or damaged. Never unpickles."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile):
        return {}


def _fits(array: Any, shape: tuple[int, ...]) -> bool:
    return array is not None and array.shape == shape and array.dtype == np.uint8
