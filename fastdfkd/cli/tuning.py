"""The commands of this room. Everything heavy is imported inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fastdfkd.text.safe_text import lines

OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Changes to the recipe: synthesis.rounds=20."),
]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder to write to.")]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", metavar="RAY", help="Ray cluster to join; unset: a local one."),
]
ObjectiveOption = Annotated[
    str,
    typer.Option(
        "--objective",
        help="accuracy, agreement, synthesis_seconds, end_to_end_seconds or "
        "accuracy_at_seconds:30; or two with a comma.",
    ),
]


def sweep(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A YAML file, or a recipe's name.")
    ] = None,
    space: Annotated[
        str | None, typer.Argument(metavar="SPACE", help="A search space: recipes/sweeps/*.yaml.")
    ] = None,
    overrides: OverridesArgument = None,
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", help="Points to try (a grid tries all).")
    ] = 10,
    search: Annotated[
        Literal["grid", "random", "optuna"],
        typer.Option("--search", help="How points are chosen."),
    ] = "random",
    scheduler: Annotated[
        Literal["fifo", "asha"], typer.Option("--scheduler", help="asha stops bad trials early.")
    ] = "fifo",
    objective: ObjectiveOption = "accuracy",
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", help="Runs of each point, one a seed.")
    ] = 1,
    out: OutOption = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="DIR", help="Go on with the sweep in a folder."),
    ] = None,
    address: AddressOption = None,
) -> None:
    """Try a recipe's settings over a search space, and say which are best."""
    from fastdfkd.addresses.ray_cluster import check_named
    from fastdfkd.cli.printing import print_sweep
    from fastdfkd.tuning.sweep import interrupted_sweep, new_sweep, run_sweep
    from fastdfkd.tuning.trial_log import Options

    if resume is not None:
        if recipe is not None:
            raise ValueError("--resume goes on with what the sweep was asked: name the folder only")
        asked = interrupted_sweep(resume)
    else:
        if recipe is None or space is None:
            raise ValueError("a sweep needs a RECIPE and a SPACE, or --resume DIR")
        options = Options(
            search=search, scheduler=scheduler, objective=objective, trials=trials, seeds=seeds
        )
        asked = new_sweep(recipe, space, overrides or [], options, out)
    check_named(address)
    with asked as chosen:
        run_sweep(chosen, address=address, say=_say)
        print_sweep(chosen, _say)


def compare(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SETTING",
            help="To compare: recipes, which are run; or finished runs, by folder or MLflow id. "
            "KEY=VALUE among them changes all recipes.",
        ),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            metavar="SETTING",
            help="The 1x: a recipe's name or file, a run's folder, or an MLflow run.",
        ),
    ] = "digits-deep-inversion",
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="Runs of each recipe.")] = 3,
    accuracy: Annotated[
        float | None,
        typer.Option("--accuracy", metavar="SHARE", help="Measure the time to it: 0.9."),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option("--experiment", metavar="NAME", help="Take runs from MLflow, run nothing."),
    ] = None,
    out: OutOption = None,
    address: AddressOption = None,
) -> None:
    """Measure settings against a reference: 10x, 100x, and at what accuracy."""
    from fastdfkd.addresses.ray_cluster import check_named
    from fastdfkd.cli.printing import print_comparison
    from fastdfkd.comparison.compare import compare as measure
    from fastdfkd.comparison.tracked_runs import compare_experiment

    if experiment is not None:
        if words:
            raise ValueError("--experiment takes the runs that are there: name no other settings")
        found, folder = compare_experiment(experiment, reference, target_accuracy=accuracy, out=out)
    else:
        changes = [word for word in words or [] if "=" in word and not Path(word).exists()]
        check_named(address)
        found, folder = measure(
            [word for word in words or [] if word not in changes],
            reference,
            changes,
            seeds=seeds,
            target_accuracy=accuracy,
            out=out,
            address=address,
            say=_say,
        )
    print_comparison(found, _say)
    _say(f"\nReport, tables and pictures: {folder / 'report.html'}")


def ui(
    port: Annotated[int, typer.Option("--port", metavar="N", help="To listen on.")] = 5000,
) -> None:
    """Open the runs in MLflow's UI, on this machine alone."""
    from fastdfkd.cli.ui import show

    raise typer.Exit(show(port, _say))


def _say(text: str) -> None:
    typer.echo(lines(text))


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command(
        epilog="Example: fastdfkd sweep digits-fast5 steps-and-meta-lr --trials 6 --scheduler asha"
    )(sweep)
    app.command(
        epilog="Example: fastdfkd compare digits-fast5 digits-fast2 "
        "--reference digits-deep-inversion --seeds 3"
    )(compare)
    app.command(epilog="Example: fastdfkd ui --port 5000")(ui)
