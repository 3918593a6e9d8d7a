"""The command `recipes`: lists recipes, shows one, and says what a key means."""

from __future__ import annotations

from typing import Annotated

import typer

from fastdfkd.cli.completion import complete_key
from fastdfkd.text.safe_text import lines


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY",
            help="Say what a key means (synthesis.steps), list a section's keys (synthesis), or "
            "show a recipe (digits-fast5).",
            autocompletion=complete_key,
        ),
    ] = None,
    sweeps: Annotated[
        bool, typer.Option("--sweeps", help="List the search spaces of `sweep` instead.")
    ] = False,
    tables: Annotated[
        bool,
        typer.Option("--tables", help="List the further recipes of the paper's tables instead."),
    ] = False,
) -> None:
    """List the shipped recipes, the sample ones first, or say what a key of a recipe means."""
    from fastdfkd.recipe import load_recipe, shipped_recipes, table_recipes
    from fastdfkd.tuning.search_space import shipped_spaces

    if name is not None:
        if sweeps or tables:
            raise ValueError("KEY is about one key or recipe: remove --sweeps and --tables")
        typer.echo(lines(_text_of(name)))
        return
    if sweeps:
        listed = shipped_spaces()
    else:
        files = table_recipes() if tables else shipped_recipes()
        listed = {file.stem: load_recipe(file).description for file in files}
    width = max(map(len, listed), default=0)
    for each, description in listed.items():
        typer.echo(f"{each:<{width}}  {description}")


def _text_of(name: str) -> str:
    """A shipped recipe's file, or what is known of a key.

    Raises:
        RecipeError: there is no such recipe or key. The message names the nearest key.
    """
    from fastdfkd.recipe import shipped_recipes, table_recipes

    for file in (*shipped_recipes(), *table_recipes()):
        if file.stem == name:
            return file.read_text(encoding="utf-8").rstrip()
    return _key_text(name)


def _key_text(path: str) -> str:
    """Each key once, with the methods that have it so."""
    from fastdfkd.recipe.key_texts import KeyText, find_keys

    methods: dict[tuple[str, KeyText], list[str]] = {}
    for section, keys in find_keys(path):
        for key in keys:
            name = f"{section.name}.{key.name}" if section.name else key.name
            methods.setdefault((name, key), []).append(section.method)
    return "\n\n".join(
        "\n".join(
            [
                f"{name}  (method {', '.join(of)})" if any(of) else name,
                f"    values   {key.values}".replace("`", ""),
                f"    default  {key.default}".replace("`", ""),
                f"    {key.meaning}".replace("`", ""),
            ]
        )
        for (name, key), of in methods.items()
    )


def register(app: typer.Typer) -> None:
    """Add the command to the typer app."""
    app.command(epilog="Example: fastdfkd recipes synthesis.steps")(recipes)
