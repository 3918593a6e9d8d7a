"""Python files that a recipe names (`path/to/file.py:builder`): their texts travel with the run.

A worker on another node, a job on a cluster and a resumed run do not have the file, or another
one of that name. They are given its text: a worker with the networks
(`models/network_sources.py`), a job in its environment, a resumed run from its folder. A file
stands alone: it may import what is installed, and not what lies beside it.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fastdfkd.recipe.messages import RecipeError
from fastdfkd.text.shown import reason, shown, shown_name

SOURCES_VARIABLE = "FASTDFKD_SOURCES"
"""Environment variable of a job that holds the texts of its files."""

_MOST_BYTES = 2**20
_MOST_IN_VARIABLE = 120_000  # Linux takes 131,072 bytes for a variable
_given: list[Mapping[str, str]] = []


def file_and_builder(name: str) -> tuple[str, str] | None:
    """The file and the builder that `path/to/file.py:builder` names; None for another name."""
    path, _, builder = name.rpartition(":")
    return (path, builder) if path.endswith(".py") else None


def texts_of(models: Iterable[str]) -> dict[str, str]:
    """The text of every Python file among the names of networks, by its path.

    Args:
        models: values of `teacher.model` and `student.model`.

    Raises:
        RecipeError: a file cannot be read.
    """
    named = [file_and_builder(model) for model in models]
    return {found[0]: text_of(found[0]) for found in named if found is not None}


def changed(texts: Mapping[str, str]) -> list[str]:
    """The paths whose files now have another text than `texts` says; files that are gone do not."""
    return [path for path, text in texts.items() if _now(path) not in (text, None)]


def _now(path: str) -> str | None:
    try:
        return text_of(path)
    except RecipeError:
        return None


def text_of(path: str) -> str:
    """The text of a file: as it was given, else as it lies on the disk.

    Raises:
        RecipeError: there is no such file, or it is no Python text. Says where it was looked for.
    """
    for texts in (*reversed(_given), _of_job()):
        if path in texts:
            return texts[path]
    file = Path(path).expanduser()
    try:
        if not os.path.isfile(file):  # unlike Path.is_file, quiet about impossible names
            raise RecipeError(f"no file {shown(path)} (looked in {shown_name(Path.cwd())})")
        if file.stat().st_size > _MOST_BYTES:
            raise RecipeError(
                f"{shown_name(path)} has {file.stat().st_size:,} bytes, expected a Python file of "
                f"at most {_MOST_BYTES:,}"
            )
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"{shown_name(path)}: expected a Python file in UTF-8 ({reason(error)})"
        ) from error


@contextmanager
def given(texts: Mapping[str, str]) -> Iterator[None]:
    """Take these texts, by path, for a block; in all threads of this process."""
    _given.append(texts)
    try:
        yield
    finally:
        _given.remove(texts)


def packed(texts: Mapping[str, str]) -> str:
    """Texts as the value of an environment variable.

    Raises:
        RecipeError: they are too long for one.
    """
    value = base64.b64encode(zlib.compress(json.dumps(dict(texts)).encode(), 9)).decode()
    if len(value) > _MOST_IN_VARIABLE:
        raise RecipeError(
            f"{', '.join(map(shown_name, texts))}: {len(value):,} characters when packed, and a "
            f"job's environment takes {_MOST_IN_VARIABLE:,}: install the code on the cluster and "
            "name it as package.module:builder"
        )
    return value


def _of_job() -> Mapping[str, str]:
    """The texts that came with the job that this process is part of."""
    value = os.environ.get(SOURCES_VARIABLE)
    if not value:
        return {}
    texts: dict[str, str] = json.loads(zlib.decompress(base64.b64decode(value)))
    return texts
