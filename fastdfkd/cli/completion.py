"""What the shell offers after Tab: recipes, keys, values and folders of runs.

`fastdfkd --install-completion` sets the shell up. Each function imports what it needs, because the
shell starts the program anew for every Tab.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from pathlib import Path

_RECIPE_FILES = (".yaml", ".yml")


def complete_recipe(incomplete: str) -> list[str]:
    """Names of shipped recipes, and YAML files."""
    from fastdfkd.recipe import shipped_recipes, table_recipes

    names = [file.stem for file in (*shipped_recipes(), *table_recipes())]
    files = _paths(incomplete, _RECIPE_FILES)
    return _starting(incomplete, names) + files


def complete_space(incomplete: str) -> list[str]:
    """Names of shipped search spaces, and YAML files."""
    from fastdfkd.tuning.search_space import shipped_spaces

    files = _paths(incomplete, _RECIPE_FILES)
    return _starting(incomplete, shipped_spaces()) + files


def complete_override(incomplete: str) -> list[str]:
    """Keys with an equals sign; after it the words that the key takes."""
    from fastdfkd.recipe.key_texts import find_keys, key_paths
    from fastdfkd.recipe.messages import RecipeError

    key, equals, begun = incomplete.partition("=")
    if not equals:
        return _starting(incomplete, (f"{path}=" for path in key_paths()))
    try:
        found = find_keys(key)
    except RecipeError:
        return []
    words = {word for _, keys in found for text in keys for word in text.words}
    return [f"{key}={word}" for word in _starting(begun, sorted(words))]


def complete_key(incomplete: str) -> list[str]:
    """Recipe keys and sections, and the names of shipped recipes."""
    from fastdfkd.recipe.key_texts import key_paths

    paths = key_paths()
    sections = sorted({path.partition(".")[0] for path in paths})
    return _starting(incomplete, [*sections, *paths]) + complete_recipe(incomplete)


def complete_folder(incomplete: str) -> list[str]:
    """Folders: of runs, and on the way to them."""
    return _paths(incomplete)


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _paths(incomplete: str, suffixes: Container[str] = ()) -> list[str]:
    """Folders that begin so, with a slash at the end, and files with these endings."""
    folder, begun = os.path.split(incomplete)
    try:
        inside = sorted(Path(folder or ".").iterdir())
    except OSError:
        return []
    named = [
        path for path in inside if path.name.startswith(begun) and (begun or path.name[0] != ".")
    ]
    return [
        f"{os.path.join(folder, path.name)}{'/' if path.is_dir() else ''}"
        for path in named
        if path.is_dir() or path.suffix in suffixes
    ]
