"""Arguments of the commands that start a run or resume one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastdfkd.cli.completion import complete_folder, complete_override, complete_recipe

if TYPE_CHECKING:
    from fastdfkd.runs.result import RunResult

_RECIPE_HELP = "A YAML file, or a name that `recipes` lists."
RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help=_RECIPE_HELP, autocompletion=complete_recipe)
]
OptionalRecipeArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RECIPE", help=_RECIPE_HELP, show_default=False, autocompletion=complete_recipe
    ),
]
RunArgument = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="Folder of a run.", autocompletion=complete_folder),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print only the figures, as JSON, on stdout.")
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", metavar="RAY", help="Ray cluster to join; unset: a local one."),
]
ResumeOption = Annotated[
    Path | None,
    typer.Option("--resume", metavar="DIR", help="Resume the run in DIR; without RECIPE."),
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Changes to the recipe: synthesis.steps=2.",
        autocompletion=complete_override,
    ),
]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder to write to.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace the files of an earlier run in the folder.")
]


@dataclass(frozen=True)
class RunRequest:
    """What a command line asks for: a new run of a recipe, or the rest of an interrupted one."""

    recipe: str | None
    overrides: list[str] | None
    out: Path | None
    address: str | None
    overwrite: bool
    resume: Path | None

    def answer(self, begin: Callable[..., RunResult], go_on: Callable[..., RunResult]) -> RunResult:
        """Run it, with a progress bar.

        Args:
            begin: function of `api` that starts a run.
            go_on: function of `api` that resumes one.

        Raises:
            ValueError: it has both a recipe and a run to resume, or neither.
            ConnectionError: no cluster answers at the address.
        """
        from fastdfkd.addresses.ray_cluster import check_named

        self._check()
        check_named(self.address)
        if self.resume is not None:
            return go_on(self.resume, address=self.address, progress=True)
        return begin(
            self.recipe or "",
            self.overrides or [],
            out=self.out,
            address=self.address,
            overwrite=self.overwrite,
            progress=True,
        )

    def _check(self) -> None:
        if (self.recipe is None) == (self.resume is None):
            both = " and not both: the run in DIR has its own recipe" if self.recipe else ""
            raise ValueError(f"give a RECIPE, or --resume DIR to resume an interrupted run{both}")
        if self.resume is not None and (self.overrides or self.out or self.overwrite):
            raise ValueError(
                "--resume continues the run with its own recipe and folder: remove KEY=VALUE, "
                "--out and --overwrite"
            )
