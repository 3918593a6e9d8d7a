"""A builder in a Python file of the user's: the file as a module that every process can have.

Its module is made from the text and named after it, so that networks of its classes can be sent:
whoever receives a `SourceFile` has the module from then on. It has to be received before the
networks, which pickles do in the order in which they were written.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from fastdfkd.models.builders import END_OF_SCRIPT, callable_in, said
from fastdfkd.recipe import Recipe
from fastdfkd.recipe.messages import RecipeError, unknown
from fastdfkd.recipe.source_texts import file_and_builder, text_of
from fastdfkd.text.shown import shown, shown_name


@dataclass(frozen=True)
class SourceFile:
    """A Python file that a recipe names."""

    path: str
    """As the recipe has it."""
    text: str

    @property
    def module_name(self) -> str:
        """Unlike that of any other file and any other text of this file."""
        digest = hashlib.sha256(f"{self.path}\0{self.text}".encode()).hexdigest()
        stem = re.sub(r"\W", "_", Path(self.path).stem)
        return f"fastdfkd_file_{stem}_{digest[:12]}"

    def module(self) -> ModuleType:
        """The module, run once in a process.

        Raises:
            RecipeError: the file raises, or is no Python.
        """
        name = self.module_name
        if name in sys.modules:
            return sys.modules[name]
        loader = _Text(self)
        spec = importlib.util.spec_from_loader(name, loader, origin=self.path)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        module.__file__ = self.path
        sys.modules[name] = module  # before it runs: a dataclass looks for its module
        try:
            loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            if not isinstance(error, Exception | SystemExit):
                raise
            raise RecipeError(self._refusal(error)) from error
        return module

    def builder(self, name: str) -> Callable[..., Any]:
        """What the file calls `name`.

        Raises:
            RecipeError: it has nothing callable of that name. Says what it has.
        """
        module = self.module()
        found = callable_in(module, name)
        if found is not None:
            return found
        own = [
            key
            for key, value in vars(module).items()
            if key[0] != "_" and callable(value) and value.__module__ == module.__name__
        ]
        raise RecipeError(unknown(f"{shown_name(self.path)}: {shown(name)}", name, own))

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        """Received, its module is there."""
        return _received, (self.path, self.text)

    def _refusal(self, error: BaseException) -> str:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        hint = ""
        if isinstance(error, ImportError):
            hint = (
                "; the file may import what is installed here and on every node, not what lies "
                "beside it: install that, or put it into the file"
            )
        if isinstance(error, SystemExit):
            hint = f"; {END_OF_SCRIPT}"
        return f"{shown_name(self.path)} cannot be run ({said(error)}{line}){hint}"


class _Text(importlib.abc.InspectLoader):
    """Runs a module from its text, and shows the text in tracebacks."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file

    def get_source(self, fullname: str) -> str:
        return self.file.text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.file.text, self.file.path, "exec", dont_inherit=True)


def builder_in_file(name: str) -> Callable[..., Any] | None:
    """The builder that `path/to/file.py:builder` names; None for another name.

    Raises:
        RecipeError: there is no such file, it raises, or has no such builder.
    """
    found = file_and_builder(name)
    return None if found is None else SourceFile(found[0], text_of(found[0])).builder(found[1])


def source_files(recipe: Recipe, *roles: str) -> tuple[SourceFile, ...]:
    """The files that a recipe names, for `teacher` or `student` alone where that is given.

    Raises:
        RecipeError: one cannot be read.
    """
    return tuple(SourceFile(path, text) for path, text in recipe.source_texts(*roles).items())


def _received(path: str, text: str) -> SourceFile:
    file = SourceFile(path, text)
    file.module()
    return file
