"""The documents agree with the code: links, paths, commands, names, keys and the layout."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from markdown_it import MarkdownIt
from markdown_it.token import Token

import fastdfkd
from docs import make_recipe_keys, make_reproducing
from fastdfkd.cli.commands import app
from fastdfkd.recipe import Recipe, load_recipe, shipped_recipes
from fastdfkd.recipe.messages import sections_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fastdfkd"
NAMES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
DOCUMENTS = [
    *(ROOT / name for name in NAMES),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "deploy" / "README.md",
]
SEARCHED = [ROOT, PACKAGE]
"""Folders that a path in a document is relative to, beside the document's own."""
PLACEHOLDERS = dict.fromkeys(
    ("RECIPE", "my-recipe.yaml", "mine.yaml", "runs/sweep/best.yaml"), "digits-fast5"
)
"""Recipes of a reader, which tests of the tutorials run."""
MINE = "mine"
"""What docs/how-to-add.md calls the part that a reader adds: no file or class has this name."""

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
every_document_of_the_present = pytest.mark.parametrize(
    "document",
    [file for file in DOCUMENTS if file.name != "CHANGELOG.md"],
    ids=lambda file: file.name,
)


@cache
def tokens(document: Path) -> list[Token]:
    """All tokens of a document, those inside paragraphs and cells too."""
    found = MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))
    return [each for token in found for each in (token, *(token.children or []))]


def spans(document: Path) -> Iterator[str]:
    """Texts in backticks."""
    return (token.content for token in tokens(document) if token.type == "code_inline")


def anchors(document: Path) -> set[str]:
    """Targets of links to the headings of a document, as GitHub names them."""
    found = tokens(document)
    heads = (found[i + 1].content for i, token in enumerate(found) if token.type == "heading_open")
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@every_document
def test_relative_links_lead_somewhere(document: Path) -> None:
    targets = [
        str(token.attrs[key])
        for token in tokens(document)
        for key in ("href", "src")
        if key in token.attrs
    ]
    broken = []
    for target in targets:
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


@cache
def folders() -> frozenset[str]:
    """Names of the folders that paths in documents begin with."""
    found = (path.name for base in SEARCHED for path in base.iterdir() if path.is_dir())
    return frozenset(found) - {"runs", "data"}  # also folders that a user has


def is_path(text: str) -> bool:
    """Whether a text in backticks names a file or folder of the repository."""
    if not re.fullmatch(r"[\w./-]+", text):
        return False
    first, slash, _ = text.partition("/")
    return text.endswith(".py") or bool(slash and first in folders())


def saved_as(token: Token) -> list[str]:
    """The file that a code block is saved as, if the document says so."""
    return re.findall(r'title="(.+?)"', token.info) if token.type == "fence" else []


@every_document_of_the_present
def test_named_paths_exist(document: Path) -> None:
    names = [text for text in spans(document) if is_path(text) and MINE not in text]
    modules = {path.name for path in PACKAGE.rglob("*.py")}
    modules |= {title for token in tokens(document) for title in saved_as(token)}
    missing = [
        name
        for name in names
        if not any((base / name).exists() for base in (*SEARCHED, document.parent))
        and name not in modules
    ]
    assert missing == []


@cache
def source() -> str:
    """All code of the repository and its manifests, for the names in them."""
    files = [path for part in ("fastdfkd", "tests") for path in (ROOT / part).rglob("*.py")]
    files += [*(ROOT / "deploy").glob("*.yaml"), ROOT / "deploy/Dockerfile"]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@every_document_of_the_present
def test_named_classes_and_constants_exist(document: Path) -> None:
    """`BankClient`, `Recipe.spare_rounds`, `WORTH_A_CALL_SECONDS`: the code has each part."""
    pattern = r"(?:[A-Z]\w*[a-z]\w*|[A-Z]+(?:_[A-Z]+)+|_?[a-z]+(?:_[a-z]+)+)(?:\.\w+)*(?:\(\))?"
    named = [text for text in spans(document) if re.fullmatch(pattern, text)]
    named = [text for text in named if MINE not in text.lower()]
    parts = [part for text in named for part in text.removesuffix("()").split(".")]
    missing = [part for part in parts if not re.search(rf"\b{part}\b", source())]
    assert missing == []


def recipe_keys() -> dict[str, set[str]]:
    """Section to its keys, over all its methods."""
    return {
        name: {key for section in sections_of(Recipe, name) for key in section.model_fields}
        for name in Recipe.model_fields
    }


@every_document
def test_named_recipe_keys_exist(document: Path) -> None:
    keys = recipe_keys()
    unknown = []
    for text in spans(document):
        match = re.fullmatch(r"(\w+)\.(\w+)(?:\.\w+)?(?:=\S+|: \S+)?", text)
        if Path(text).suffix in (
            ".py",
            ".json",
            ".pt",
            ".pt2",
            ".onnx",
            ".xml",
            ".bin",
            ".safetensors",
        ):
            continue
        if match and keys.get(match[1]) and match[2] not in keys[match[1]]:
            unknown.append(text)
    assert unknown == []


def test_the_version_is_the_same_everywhere() -> None:
    """In the changelog, the citation, and the tag of a commit that is tagged."""
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert newest is not None
    assert f"\nversion: {newest[1]}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    command = ["git", "tag", "--points-at", "HEAD", "v*"]
    tags = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert tags.split() in ([], [f"v{newest[1]}"])


def test_the_tables_of_keys_are_those_of_the_sections() -> None:
    text = make_recipe_keys.PAGE.read_text(encoding="utf-8")
    assert make_recipe_keys.block() in text, "run .venv/bin/python docs/make_recipe_keys.py"


class Line(NamedTuple):
    """A command of the program as a document shows it."""

    text: str
    words: list[str]
    """From the name of the subcommand on."""


def shell_lines(document: Path) -> Iterator[str]:
    """Commands in code blocks of a shell, continued lines joined."""
    for token in tokens(document):
        if token.type == "fence" and token.info in ("sh", "console"):
            for line in token.content.replace("\\\n", " ").splitlines():
                yield line.removeprefix("$ ").strip()
        elif token.type == "code_block":
            yield from (line.strip() for line in token.content.splitlines())


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


def layout() -> list[str]:
    """The first column of the package table in ARCHITECTURE.md, in order."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.split("\n## Layout\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def test_the_package_table_is_what_is_on_disk() -> None:
    packages = {f"{init.parent.name}/" for init in PACKAGE.glob("*/__init__.py")}
    modules = {file.name for file in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert sorted(layout()) == sorted(packages | modules)


def test_the_package_table_is_in_the_order_of_imports() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["type"] == "layers")
    height = {
        name.strip(): -number for number, layer in enumerate(layers) for name in layer.split("|")
    }
    heights = [height[name.strip("/").removesuffix(".py")] for name in layout()]
    assert heights == sorted(heights)


@every_document
def test_a_package_is_called_a_package(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert re.findall(r"(?i)\b(?:houses?|rooms?)\b", text) == []


def test_the_first_screen_of_the_readme_has_the_two_commands() -> None:
    first = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:24])
    assert "make quickstart" in first
    assert "make test" in first


def test_the_readme_links_every_page() -> None:
    links = {str(token.attrs.get("href")) for token in tokens(ROOT / "README.md")}
    assert {page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md")} <= links


def test_every_shipped_folder_of_recipes_is_described() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert all(f"recipes/{file.parent.name}/" in text for file in shipped_recipes())


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_every_table_of_results_names_its_commit(page: str) -> None:
    """Accuracies and seconds are those of some code: a commit stands before each table."""
    paragraphs = (ROOT / page).read_text(encoding="utf-8").split("\n\n")
    before = [
        paragraphs[number - 1]
        for number, text in enumerate(paragraphs)
        if text.startswith("|") and re.search(r"\d(?: s| %|x) ", text)
    ]
    assert before
    assert all(re.search(r"(?i)\bcommit [0-9a-f]{7,12}\b", text) for text in before)


def test_the_page_of_the_papers_tables_is_what_its_script_writes() -> None:
    text = make_reproducing.PAGE.read_text(encoding="utf-8")
    block = make_reproducing.block(make_reproducing.results())
    assert block in text, "run .venv/bin/python docs/make_reproducing.py"


def test_a_measured_cell_stands_in_its_column_of_the_papers_tables() -> None:
    cell = {"row": "fast5", "pair": "wrn-40-2/wrn-16-1", "accuracy": 87.654, "accuracy_std": 0.1}
    files = [
        {"table": "cifar10", "cells": [{**cell, "data": {"root": root}}]}
        for root in ("data", "cifar10_jpeg_train.zip")
    ]
    files[1]["cells"][0] |= {"accuracy": 84.3, "accuracy_std": None}
    before = make_reproducing.block([]).splitlines()
    after = make_reproducing.block(files).splitlines()
    ((old, new),) = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert "cifar10-wrn-40-2-wrn-16-1-fast5" in new
    assert old.endswith("|  |  |")
    assert new.endswith("| 87.65 ± 0.10 | 84.30 |")


def test_an_estimate_is_the_measured_step_times_the_recipes_steps() -> None:
    """220 batches of 0.194 s, and 80,000 updates of 8.4 ms."""
    lines = make_reproducing.block([]).splitlines()
    line = next(line for line in lines if "distill cifar100-wrn-40-2-wrn-16-1-fast5`" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[5:7] == [f"{220 * 0.194 / 3600:.2f}", f"{80_000 * 0.0084 / 3600:.2f}"]
