"""The texts of a recipe's Python files in a run's folder: what the run goes on with."""

from __future__ import annotations

from pathlib import Path

from fastdfkd.recipe import Recipe
from fastdfkd.recipe.source_texts import texts_of
from fastdfkd.runs.folder import read_json, write_json

SOURCES_FILE = "sources.json"
"""Texts by the path that the recipe has for them. A run without such files has no such file."""


def write_sources(recipe: Recipe, directory: Path) -> None:
    """Keep the files that a recipe names with its run.

    Raises:
        RecipeError: one cannot be read.
        OSError: the folder cannot be written to.
    """
    if texts := texts_of(recipe):
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
