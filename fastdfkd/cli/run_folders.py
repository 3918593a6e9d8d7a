"""The commands `runs`, `report` and `clean`, which work on folders of runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastdfkd.cli.completion import complete_folder
from fastdfkd.cli.invocation import print_json, say
from fastdfkd.cli.run_request import JsonOption, RunArgument
from fastdfkd.text.safe_text import lines
from fastdfkd.text.shown import reason

if TYPE_CHECKING:
    from fastdfkd.runs.listing import ListedRun

FolderArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="Folder to search for runs.", autocompletion=complete_folder
    ),
]
_HEADS = ("run", "state", "changed", "recipe", "result", "end to end", "size")


def runs(folder: FolderArgument = Path("runs"), as_json: JsonOption = False) -> None:
    """List the runs in a folder, the newest first."""
    from fastdfkd.report.terminal_table import print_table
    from fastdfkd.runs.listing import list_runs

    found = list_runs(folder)
    if as_json:
        print_json([run.facts() for run in found])
    elif found:
        print_table(_HEADS, [_cells(run) for run in found])
    else:
        typer.echo(lines(f"{folder} holds no run. Start one: fastdfkd quickstart"))


def report(
    directory: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="File to write. Default: report.html in the run's folder."
        ),
    ] = None,
) -> None:
    """Write the page of a run: figures, curves, images, confusion, cost, command to repeat it.

    One HTML file for reading offline. It works during the run and afterwards, on any machine that
    can read the folder.
    """
    from fastdfkd.report.run_page import write_run_page

    typer.echo(lines(write_run_page(directory, out)))


def clean(
    folder: FolderArgument = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be removed.")
    ] = False,
) -> None:
    """Remove the checkpoints of finished runs, after asking.

    Results, metrics, students and pictures stay. What cannot be made again stays too: the
    checkpoints of runs that can be resumed, and the images of `synthesize`.
    """
    from fastdfkd.report.table import size
    from fastdfkd.runs.listing import list_runs

    found = [run for run in list_runs(folder) if run.removable]
    if not found:
        typer.echo(lines(f"{folder} holds nothing that can be removed"))
        return
    for run in found:
        typer.echo(lines(f"{size(run.removable):>9}  {run.directory}"))
    total = size(sum(run.removable for run in found))
    typer.echo(f"{total:>9}  in all. No later run can start from images that are removed")
    if dry_run:
        return
    if not yes:
        typer.confirm("Remove them?", abort=True)
    typer.echo(f"{size(_clean_all(found))} freed")


def _clean_all(found: Sequence[ListedRun]) -> int:
    """Clean each run; those that are in use or cannot be cleaned are named. The bytes freed."""
    from fastdfkd.runs.listing import clean as clean_run

    freed = 0
    for run in found:
        try:
            freed += clean_run(run)
        except (ValueError, OSError) as error:
            say(f"not removed: {reason(error)}")
    return freed


def _cells(run: ListedRun) -> list[str]:
    from fastdfkd.report.table import seconds, size
    from fastdfkd.runs.figures import FIGURES, main_figure

    facts, figures = run.facts(), run.figures
    name = main_figure(figures)
    result = f"{FIGURES[name].show(figures[name])} {FIGURES[name].name}" if figures else ""
    end_to_end = facts["end_to_end_seconds"]
    return [
        str(run.directory),
        run.status.state,
        time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed)),
        facts["recipe"] or "?",
        result,
        "" if end_to_end is None else seconds(end_to_end),
        size(run.bytes),
    ]


def register(app: typer.Typer) -> None:
    """Add the commands to the typer app."""
    app.command(epilog="Example: fastdfkd runs runs/quickstart")(runs)
    app.command(epilog="Example: fastdfkd report runs/quickstart/fast-5")(report)
    app.command(epilog="Example: fastdfkd clean runs --dry-run")(clean)
