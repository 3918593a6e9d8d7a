"""Hooks of the documentation site: pages and files of the repository that lie outside docs/.

`README.md`, `ARCHITECTURE.md` and the other documents at the root are pages of the site. Files of
other folders that a page links, such as pictures and tables of benchmarks, are copied. Links are
rewritten to where the site has their targets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
_LINK = re.compile(r"(?<=\]\()([^)#\s]+)")
_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents at the root, and the files that any page links outside docs/."""
    for name in PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    wanted = [_source(file.src_uri) for file in files.documentation_pages()]
    seen = set(wanted)
    while wanted:
        page = wanted.pop()
        for target in _targets(page):
            if target.is_file() and target not in seen:
                seen.add(target)
                uri = _uri(target)
                if files.get_file_from_path(uri) is None:
                    files.append(File.generated(config, uri, abs_src_path=str(target)))
                if target.suffix == ".md":
                    wanted.append(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page to where the site has their targets."""
    here = _source(page.file.src_uri)

    def moved(link: re.Match[str]) -> str:
        if re.match(r"[a-z]+:", link[0]):
            return link[0]
        target = (here.parent / link[0]).resolve()
        start = os.path.dirname(page.file.src_uri)
        return os.path.relpath(_uri(target), start or ".")

    parts = _CODE.split(markdown)
    return "".join(
        part if number % 2 else _LINK.sub(moved, part) for number, part in enumerate(parts)
    )


def _targets(page: Path) -> Iterator[Path]:
    """Files that a page links, wherever they are in the repository."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if not re.match(r"[a-z]+:", link):
            yield (page.parent / link).resolve()


def _source(uri: str) -> Path:
    """The file of the repository that a page of the site is made of."""
    inside = ROOT / "docs" / uri
    return inside if inside.is_file() else ROOT / uri


def _uri(file: Path) -> str:
    """Where the site has a file of the repository."""
    inside = ROOT / "docs"
    return (
        file.relative_to(inside) if file.is_relative_to(inside) else file.relative_to(ROOT)
    ).as_posix()
