"""Commands and Python that documents show are those of the program."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import typer

import fastdfkd
from fastdfkd.cli.commands import app
from fastdfkd.recipe import load_recipe
from tests.documents import (
    PACKAGE,
    ROOT,
    every_document,
    shell_lines,
    spans,
    tokens,
)

PLACEHOLDERS = dict.fromkeys(
    ("RECIPE", "my-recipe.yaml", "mine.yaml", "runs/sweep/best.yaml"), "digits-fast5"
)
"""Recipes of a reader, which tests of the tutorials run."""


class Line(NamedTuple):
    """A command of the program as a document shows it."""

    text: str
    words: list[str]
    """From the name of the subcommand on."""


def commands(document: Path) -> Iterator[Line]:
    """Every `fastdfkd ...`: in code blocks whole, in backticks too."""
    for text in (*shell_lines(document), *spans(document)):
        found = re.search(r"(?:^|\s)fastdfkd (?=[a-z])([^|]*)", text)
        if found and not text.startswith("fastdfkd:"):
            yield Line(text, shlex.split(found[1], comments=True))


@every_document
def test_shown_commands_are_commands_of_the_program(document: Path) -> None:
    """Their options exist, and so do their recipes, with every changed key and value."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for line in commands(document):
        name, *words = line.words
        assert name in group.commands, line.text
        command = group.commands[name]
        words = [PLACEHOLDERS.get(word, word) for word in words]
        if not words or any(re.fullmatch(r"[A-Z]+\.*", word) for word in words):
            options = {option for each in command.params for option in each.opts}
            assert {word for word in words if word.startswith("--")} <= options, line.text
            continue
        context = command.make_context(name, list(words))
        recipe = context.params.get("recipe")
        if recipe:
            load_recipe(recipe, context.params.get("overrides") or [])


@every_document
def test_shown_modules_and_targets_exist(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    for text in (*shell_lines(document), *spans(document)):
        for module in re.findall(r"python3? -m ((?:benchmarks|fastdfkd)[\w.]*)", text):
            assert importlib.util.find_spec(module), text
        for target in re.findall(r"^make ([a-z][a-z-]*)", text):
            assert target in targets, text


@every_document
def test_shown_python_is_valid_and_uses_the_public_api(document: Path) -> None:
    code = [
        t.content for t in tokens(document) if t.type == "fence" and t.info.startswith("python")
    ]
    for text in code:
        ast.parse(text)
    named = {
        name
        for text in (*code, *spans(document))
        for name in re.findall(r"(?<![\w/-])fastdfkd\.([a-z]\w*)", text)
    }
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert named <= {*fastdfkd.__all__, *modules}
