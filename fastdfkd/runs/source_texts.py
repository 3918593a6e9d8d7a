"""The texts of a recipe's Python files in a run's folder: what the run goes on with."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fastdfkd.recipe.source_texts import changed, given
from fastdfkd.runs.folder import read_json, write_json
from fastdfkd.text.shown import shown_name

SOURCES_FILE = "sources.json"
"""Texts by the path that the recipe has for them. A run without such files has no such file."""

log = logging.getLogger(__name__)


def write_sources(texts: Mapping[str, str], directory: Path) -> None:
    """Keep the texts of the Python files that a recipe names with its run.

    Raises:
        OSError: the folder cannot be written to.
    """
    if texts:
        write_json(directory / SOURCES_FILE, texts)


def sources_in(directory: Path) -> dict[str, str]:
    """The texts that were kept with a run.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be read.
    """
    file = directory / SOURCES_FILE
    if not file.is_file():
        return {}
    return {str(path): str(text) for path, text in read_json(file).items()}


@contextmanager
def as_it_began(directory: Path) -> Iterator[None]:
    """Use the texts that were kept with a run, for a block. Warns of files that have changed.

    Raises:
        ValueError: the file with the texts is damaged.
        OSError: it cannot be read.
    """
    texts = sources_in(directory)
    for path in changed(texts):
        log.warning(
            "%s has changed since the run in %s began: the run continues with the text that it "
            "began with. Start a new run to use the new text",
            shown_name(path),
            shown_name(directory),
        )
    with given(texts):
        yield
