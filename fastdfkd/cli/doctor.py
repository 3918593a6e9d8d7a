"""The command `doctor`."""

from __future__ import annotations

import typer

from fastdfkd.cli.invocation import print_json
from fastdfkd.cli.run_request import JsonOption
from fastdfkd.text.safe_text import lines

_SIGNS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
FOUND_PROBLEMS = 1
"""Exit code if there is a problem."""


def doctor(as_json: JsonOption = False) -> None:
    """Check this machine: packages, GPU, memory, disks, Ray, MLflow.

    Starts nothing. The exit code is 1 if something is wrong.
    """
    from fastdfkd.api.doctor import examine

    found = examine()
    if as_json:
        print_json([finding.facts() for finding in found])
    else:
        width = max(len(finding.subject) for finding in found)
        for finding in found:
            sign = _SIGNS[finding.level]
            typer.echo(lines(f"{sign:<8} {finding.subject:<{width}}  {finding.text}"))
            if finding.remedy:
                typer.echo(lines(f"{'':<8} {'':<{width}}  -> {finding.remedy}"))
    if any(finding.level == "problem" for finding in found):
        raise typer.Exit(FOUND_PROBLEMS)


def register(app: typer.Typer) -> None:
    """Add the command to the typer app."""
    app.command(epilog="Example: fastdfkd doctor --json")(doctor)
