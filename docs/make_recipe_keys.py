"""Writes the tables of keys into docs/recipes.md, between two marks.

    .venv/bin/python docs/make_recipe_keys.py

Keys, ranges, defaults and descriptions come from the sections of the recipe
(`fastdfkd/recipe/key_texts.py`).
"""

from __future__ import annotations

from pathlib import Path

from fastdfkd.recipe.key_texts import SectionText, section_texts

PAGE = Path(__file__).with_name("recipes.md")
BEGIN = "<!-- begin: python docs/make_recipe_keys.py -->"
END = "<!-- end: python docs/make_recipe_keys.py -->"


def main() -> None:
    """Rewrite the part of the page between the marks."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(before + block() + rest.split(END)[1], encoding="utf-8")


def block() -> str:
    """The generated part of the page, marks included."""
    return "\n\n".join([BEGIN, *map(_table, section_texts()), END])


def _table(section: SectionText) -> str:
    title = "Top level"
    if section.name:
        title = f"`{section.name}`"
    if section.method:
        title += f", `method: {section.method}`"
    elif section.name and not section.meaning:
        title += ", every method"
    about = [_cell(section.meaning), ""] if section.meaning else []
    heads = ["| key | values | default | meaning |", "| --- | --- | --- | --- |"]
    rows = [
        f"| `{key.name}` | {key.values} | {key.default} | {_cell(key.meaning)} |"
        for key in section.keys
    ]
    return "\n".join([f"### {title}", "", *about, *heads, *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
