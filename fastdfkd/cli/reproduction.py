"""The command `reproduce`. It imports torch, Ray and MLflow itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastdfkd.cli import invocation
from fastdfkd.cli.given_options import refuse_beside
from fastdfkd.cli.invocation import print_json
from fastdfkd.cli.run_request import AddressOption, OutOption, OverridesArgument
from fastdfkd.cli.tuning import MOST_RUNS
from fastdfkd.text.safe_text import lines

if TYPE_CHECKING:
    from fastdfkd.reproduction.outcomes import Outcome
    from fastdfkd.reproduction.request import TableRun

TableArgument = Annotated[
    str | None, typer.Argument(metavar="TABLE", help="A table that --list lists.")
]
RowsOption = Annotated[
    str | None, typer.Option("--rows", metavar="ROW,...", help="Rows of the table. Default: all.")
]
PairsOption = Annotated[
    str | None,
    typer.Option(
        "--pairs", metavar="PAIR,...", help="Pairs, teacher/student, of the table. Default: all."
    ),
]
SeedsOption = Annotated[
    int, typer.Option("--seeds", metavar="N", min=1, max=MOST_RUNS, help="Runs of each cell.")
]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        "--budget",
        metavar="HOURS",
        min=0.0,
        help="Start no further run after so many hours. Default: no limit.",
    ),
]
ResumeOption = Annotated[
    Path | None,
    typer.Option("--resume", metavar="DIR", help="Run what is missing of the table in DIR."),
]


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """What a command line asks for: a table, or the rest of an interrupted one."""

    table: str | None
    overrides: list[str] | None
    rows: str | None
    pairs: str | None
    seeds: int
    out: Path | None
    resume: Path | None

    def opened(self) -> AbstractContextManager[TableRun]:
        """The table, whose folder is locked for the `with` block.

        Raises:
            ValueError: the arguments contradict each other.
        """
        from fastdfkd.reproduction.request import interrupted_table, new_table

        if self.resume is not None:
            if self.table or self.overrides or self.rows or self.pairs or self.out:
                raise ValueError(
                    "--resume continues a table with its own rows, pairs, seeds and folder: remove "
                    "TABLE, KEY=VALUE, --rows, --pairs and --out"
                )
            return interrupted_table(self.resume)
        if self.table is None:
            raise ValueError("give a TABLE (`reproduce --list` lists them), or --resume DIR")
        return new_table(
            self.table,
            rows=_names(self.rows),
            pairs=_names(self.pairs),
            seeds=self.seeds,
            overrides=self.overrides or [],
            out=self.out,
        )


def reproduce(
    context: typer.Context,
    table: TableArgument = None,
    overrides: OverridesArgument = None,
    rows: RowsOption = None,
    pairs: PairsOption = None,
    seeds: SeedsOption = 1,
    budget: BudgetOption = None,
    out: OutOption = None,
    resume: ResumeOption = None,
    address: AddressOption = None,
    list_tables: Annotated[
        bool, typer.Option("--list", help="List tables, rows and pairs; run nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print only the table, as JSON, on stdout.")
    ] = False,
) -> None:
    """Run a paper's table, cell by cell, beside the published figures.

    A cell that cannot be run says what is missing, and the others are run.
    """
    if list_tables:
        _print_tables(table, as_json)
        return
    if resume is not None:
        refuse_beside(context, "--resume", "continues a table with its own seeds", "seeds")
    opened = TableRequest(
        table=table,
        overrides=overrides,
        rows=rows,
        pairs=pairs,
        seeds=seeds,
        out=out,
        resume=resume,
    ).opened()
    from fastdfkd.addresses.ray_cluster import check_named
    from fastdfkd.reproduction.layout import facts
    from fastdfkd.reproduction.table_run import run_table

    check_named(address)
    with opened as run:
        say: Callable[[str], None] = invocation.say if as_json else _say
        found = run_table(run, budget_hours=budget, address=address, say=say)
        if as_json:
            print_json(facts(run, found))
        else:
            _print_results(run, found)
        if not any(outcome.accuracies for outcome in found):
            raise ValueError(f"no cell was measured; {run.folder / 'table.md'} says why")


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in text.split(",")] if text else []


def _print_tables(name: str | None, as_json: bool) -> None:
    """Print rows and pairs of a table, or of all."""
    from fastdfkd.reproduction.published import published

    tables = {name: published().table(name)} if name else published().tables
    if as_json:
        listed: dict[str, Any] = {
            key: {
                "title": table.title,
                "rows": {row: content.label for row, content in table.rows.items()},
                "pairs": list(table.pairs),
                "recipes": [cell.recipe for cell in table.cells()],
            }
            for key, table in tables.items()
        }
        print_json(listed)
        return
    for key, table in tables.items():
        typer.echo(f"{key}: {table.title}, {len(list(table.cells()))} cells")
        typer.echo(f"  rows   {', '.join(table.rows)}")
        typer.echo(f"  pairs  {', '.join(table.pairs)}")


def _print_results(run: TableRun, found: Sequence[Outcome]) -> None:
    from fastdfkd.report.terminal_table import print_table
    from fastdfkd.reproduction.layout import caption, heads_and_rows, notes

    print_table(*heads_and_rows(run, found), title=run.table.title, caption=caption(run.table))
    for note in notes(run, found):
        _say(f"\n{note}")
    _say(f"\nTables and runs: {run.folder}")


def _say(text: str) -> None:
    typer.echo(lines(text))


def register(app: typer.Typer) -> None:
    """Add the command to the typer app."""
    app.command(epilog="Example: fastdfkd reproduce digits --rows fast5,dafl --seeds 2")(reproduce)
