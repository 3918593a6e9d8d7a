"""Reads a file of class names, which `input.classes` of a recipe may name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fastdfkd.recipe.messages import RecipeError
from fastdfkd.text.shown import reason, shown, shown_name

_MOST_BYTES = 2**22


def read_class_names(name: str, folder: Path | None) -> list[str]:
    """The names in a text (one on each line) or JSON file (a list, or a mapping from the number).

    A mapping's value may be a list whose last entry is the name, as in the
    `imagenet_class_index.json` that is published with ImageNet's classes. Names may repeat, as two
    of ImageNet's do.

    Args:
        name: path of the file, relative to `folder` or else to the working folder.
        folder: of the recipe's file; None where the recipe is no file.

    Raises:
        RecipeError: the file cannot be read, or is no such list.
    """
    path = _found(name, folder)
    where = f"input.classes: {shown_name(path)}"
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise RecipeError(f"{where}: expected names of classes, but it has over 4 MiB")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError(
            f"{where}: expected UTF-8 text, a name on each line, or JSON; it is neither"
        ) from None
    except OSError as error:
        raise RecipeError(f"{where}: cannot be read: {error.strerror or error}") from None
    stripped = text.lstrip()
    names = _of_json(text, where) if stripped[:1] in ("[", "{") else _of_lines(text, where)
    if len(names) < 2:
        raise RecipeError(f"{where}: expected at least 2 names of classes, got {len(names)}")
    return names


def _found(name: str, folder: Path | None) -> Path:
    given = Path(os.path.expanduser(name))
    tried = [folder / given] if folder is not None else []
    tried.append(Path.cwd() / given)
    for path in tried:
        if os.path.isfile(path):  # unlike Path.is_file, it returns False for impossible names
            return path
    places = " or ".join(dict.fromkeys(shown_name(path) for path in tried))
    raise RecipeError(
        f"input.classes: expected a number, a list of names or a file of names, got {shown(name)}, "
        f"and there is no file {places}"
    )


def _of_lines(text: str, where: str) -> list[str]:
    lines = [line.strip() for line in text.rstrip().splitlines()]
    for number, line in enumerate(lines, 1):
        if not line:
            raise RecipeError(
                f"{where}: line {number} is empty: every line is the name of a class, in the order "
                "of the teacher's outputs"
            )
    return lines


def _of_json(text: str, where: str) -> list[str]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise RecipeError(f"{where}: begins like JSON, but {reason(error)}") from None
    if isinstance(content, dict):
        content = _in_order(content, where)
    return [_name(each, where) for each in content]


def _in_order(names: dict[str, Any], where: str) -> list[Any]:
    """The values of `{"0": name, "1": name, ...}` in the order of their numbers."""
    expected = [str(number) for number in range(len(names))]
    wrong = [key for key in names if key not in set(expected)]
    if wrong:
        raise RecipeError(
            f"{where}: expected the numbers 0 to {len(names) - 1} as keys, got {shown(wrong[0])}"
        )
    return [names[number] for number in expected]


def _name(value: Any, where: str) -> str:
    if isinstance(value, list) and value:
        value = value[-1]
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise RecipeError(f"{where}: expected the name of a class, got {shown(value)}")
    return str(value).strip()
