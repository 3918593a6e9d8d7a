"""The commands that make, follow and evaluate runs. The others are in modules of their own.

They import torch, Ray and MLflow themselves, so that `--help` is fast.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fastdfkd import signals
from fastdfkd.addresses import credentials
from fastdfkd.cli import (
    doctor,
    export,
    init,
    invocation,
    recipe_texts,
    reproduction,
    run_folders,
    tuning,
)
from fastdfkd.cli.completion import complete_override
from fastdfkd.cli.invocation import print_json, say
from fastdfkd.cli.run_request import (
    AddressOption,
    JsonOption,
    OptionalRecipeArgument,
    OutOption,
    OverridesArgument,
    OverwriteOption,
    RecipeArgument,
    ResumeOption,
    RunArgument,
    RunRequest,
)
from fastdfkd.text.safe_text import lines

app = typer.Typer(name="fastdfkd", rich_markup_mode=None, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fastdfkd {version('fastdfkd')}")
        raise typer.Exit


@app.callback(invoke_without_command=True, epilog="Example: fastdfkd quickstart")
def root(
    context: typer.Context,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log progress to stderr.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Compress a neural network when its training data is gone."""
    logging.getLogger("fastdfkd").setLevel(logging.INFO if verbose else logging.WARNING)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(epilog="Example: fastdfkd quickstart")
def quickstart(as_json: JsonOption = False) -> None:
    """Show in minutes what 10x and 100x mean.

    Trains a small teacher on handwritten digits. Compresses it without its data with the 1x
    reference, Fast-10, Fast-5 and Fast-2, and prints a table. Writes to runs/quickstart/ and
    replaces the files of an earlier quickstart.
    """
    from fastdfkd.api.quickstart import run_quickstart

    results = run_quickstart(progress=True, silent=as_json)
    if as_json:
        print_json(
            {
                setting: {**run.model_dump(mode="json"), "folder": str(run.directory)}
                for setting, run in results.items()
            }
        )


@app.command(
    epilog="Example: fastdfkd teacher digits-fast5 teacher.epochs=10 --out runs/my-teacher"
)
def teacher(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the teacher of a recipe and write its weights."""
    from fastdfkd.api import train_teacher_into
    from fastdfkd.cli.summaries import teacher_summary

    trained, folder = train_teacher_into(
        recipe, overrides or [], out=out, overwrite=overwrite, progress=True
    )
    if as_json:
        print_json({**trained.description, "folder": str(folder)})
        return
    weights = folder / "teacher.safetensors"
    typer.echo(lines(teacher_summary(trained.description, trained.digest, weights)))


@app.command(epilog="Example: fastdfkd check digits-fast5")
def check(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    images: Annotated[
        int,
        typer.Option(
            "--images", metavar="N", min=1, help="Most held-out images to evaluate the teacher on."
        ),
    ] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would use and cost here, before it is started.

    Opens the teacher, evaluates it, measures a few steps and estimates time and memory of the run.
    Trains nothing and writes nothing but caches.
    """
    from fastdfkd.api import check as check_recipe
    from fastdfkd.report.check_screen import show

    report = check_recipe(recipe, overrides or [], images=images)
    if as_json:
        print_json(report.facts())
    else:
        show(report)


@app.command(epilog="Example: fastdfkd distill digits-fast5 synthesis.steps=2 --out runs/k2")
def distill(
    recipe: OptionalRecipeArgument = None,
    overrides: OverridesArgument = None,
    out: OutOption = None,
    address: AddressOption = None,
    overwrite: OverwriteOption = False,
    resume: ResumeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compress a teacher without its data."""
    from fastdfkd import api
    from fastdfkd.cli.summaries import run_summary

    request = RunRequest(recipe, overrides, out, address, overwrite, resume)
    result = request.answer(api.distill, api.resume)
    typer.echo(result.model_dump_json(indent=2) if as_json else lines(run_summary(result)))


@app.command(epilog="Example: fastdfkd synthesize digits-cmi-images --out runs/images")
def synthesize(
    recipe: OptionalRecipeArgument = None,
    overrides: OverridesArgument = None,
    out: OutOption = None,
    address: AddressOption = None,
    overwrite: OverwriteOption = False,
    resume: ResumeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a recipe's images without a student.

    The adversarial term is off, because there is no student. Later runs start from the folder:
    fastdfkd distill RECIPE bank.start_from=DIR.
    """
    from fastdfkd import api
    from fastdfkd.cli.summaries import run_summary

    request = RunRequest(recipe, overrides, out, address, overwrite, resume)
    result = request.answer(api.synthesize, api.resume_synthesis)
    typer.echo(result.model_dump_json(indent=2) if as_json else lines(run_summary(result)))


@app.command(epilog="Example: fastdfkd submit digits-fast5 --address http://127.0.0.1:8265")
def submit(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="URL",
            help="Dashboard of the cluster. Default: RAY_API_SERVER_ADDRESS, else "
            "http://127.0.0.1:8265.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder on the cluster to write to."),
    ] = None,
    no_follow: Annotated[
        bool, typer.Option("--no-follow", help="Print the job's id and do not wait for it.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Run a recipe as a job of a Ray cluster, and follow its log.

    The recipe is checked here and sent with the job. The package must be installed on the nodes.
    Ctrl-C asks whether to stop the job. The exit code is that of the job.
    """
    from fastdfkd.jobs.follow import Follower
    from fastdfkd.jobs.submit import submit as submit_job

    client, job = submit_job(recipe, overrides or [], address=address, out=out, overwrite=overwrite)
    if no_follow:
        typer.echo(job)
        return
    say(f"{job} is submitted to {client.get_address()}")
    follower = Follower(client, job, write=lambda text: typer.echo(text, nl=False), note=say)
    with signals.RaisingInterrupts():
        raise typer.Exit(follower.run())


@app.command(epilog="Example: fastdfkd status runs/quickstart/fast-5")
def status(
    directory: RunArgument,
    watch: Annotated[
        bool, typer.Option("--watch", help="Update every two seconds until the run ends.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the status of a run on one screen.

    It works during the run and afterwards, on any machine that can read the folder.
    """
    from fastdfkd.report.status_screen import show
    from fastdfkd.runs.status import read_status

    if as_json:
        if watch:
            raise ValueError("--json prints the status once: remove --watch")
        print_json(read_status(directory).facts())
    else:
        show(directory, watch=watch)


@app.command(epilog="Example: fastdfkd evaluate runs/quickstart/fast-5")
def evaluate(
    directory: RunArgument,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Other images than the run's: data.name=folder data.root=photos.zip.",
            autocompletion=complete_override,
        ),
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option("--data-root", metavar="DIR", help="Folder of the images, if it has moved."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate the student of a run again, on held-out images."""
    from fastdfkd.api import evaluate as evaluate_run
    from fastdfkd.cli.summaries import evaluation_summary

    evaluation = evaluate_run(directory, overrides or [], data_root=data_root)
    if as_json:
        print_json(evaluation.facts())
    else:
        typer.echo(lines(evaluation_summary(evaluation)))


for commands in (recipe_texts, export, tuning, reproduction, run_folders, init, doctor):
    commands.register(app)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code. A user error is one message on stderr."""
    return invocation.run(app, arguments)


def command_line() -> int:
    """Run the command line of this process and return its exit code."""
    credentials.clear_command_line()
    invocation.set_up_logging()
    return run(sys.argv[1:])
