"""The documents agree with the code: links, paths, commands, names, keys and the layout."""

from __future__ import annotations

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

from markdown_it.token import Token

from fastdfkd.recipe import Recipe, shipped_recipes
from fastdfkd.recipe.messages import sections_of
from tests.documents import (
    MINE,
    PACKAGE,
    ROOT,
    every_document,
    every_document_of_the_present,
    spans,
    tokens,
)

SEARCHED = [ROOT, PACKAGE]
"""Folders that a path in a document is relative to, beside the document's own."""


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
