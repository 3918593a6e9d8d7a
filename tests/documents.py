"""The documents of the repository, and what is read out of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fastdfkd"
NAMES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
DOCUMENTS = [
    *(ROOT / name for name in NAMES),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "deploy" / "README.md",
]
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


def shell_lines(document: Path) -> Iterator[str]:
    """Commands in code blocks of a shell, continued lines joined."""
    for token in tokens(document):
        if token.type == "fence" and token.info in ("sh", "console"):
            for line in token.content.replace("\\\n", " ").splitlines():
                yield line.removeprefix("$ ").strip()
        elif token.type == "code_block":
            yield from (line.strip() for line in token.content.splitlines())
