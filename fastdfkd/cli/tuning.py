"""The commands `sweep`, `compare` and `ui`. They import torch, Ray and MLflow themselves."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fastdfkd.cli import invocation
from fastdfkd.cli.completion import complete_override, complete_recipe, complete_space
from fastdfkd.cli.given_options import refuse_beside
from fastdfkd.cli.invocation import print_json
from fastdfkd.cli.run_request import AddressOption, JsonOption, OutOption
from fastdfkd.text.safe_text import lines

if TYPE_CHECKING:
    from fastdfkd.tuning.plan import Sweep
    from fastdfkd.tuning.trial_log import Options

MOST_RUNS = 100_000
"""Largest number of trials or seeds that a command accepts."""

OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Changes to the recipe: synthesis.rounds=20.",
        autocompletion=complete_override,
    ),
]
ObjectiveOption = Annotated[
    str | None,
    typer.Option(
        "--objective",
        help="accuracy, mean_iou, agreement, synthetic_agreement, synthesis_seconds, "
        "end_to_end_seconds, accuracy_at_seconds:30, mean_iou_at_seconds:30; or two with a comma. "
        "Default: accuracy, for segmentation mean_iou, or without real test images "
        "synthetic_agreement.",
    ),
]
SpaceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SPACE",
        help="A YAML file with a search space, or a name that `recipes --sweeps` lists.",
        autocompletion=complete_space,
    ),
]
TrialsOption = Annotated[
    int,
    typer.Option(
        "--trials", metavar="N", min=1, max=MOST_RUNS, help="Points to try (a grid tries all)."
    ),
]
SeedsOption = Annotated[
    int,
    typer.Option(
        "--seeds", metavar="N", min=1, max=MOST_RUNS, help="Seeds, and so runs, of each point."
    ),
]
ReferenceOption = Annotated[
    str,
    typer.Option(
        "--reference",
        metavar="SETTING",
        help="What counts as 1x: a recipe's name or file, a run's folder, or an MLflow run.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class SweepRequest:
    """What a command line asks for: a new sweep, or the rest of an interrupted one."""

    recipe: str | None
    space: str | None
    overrides: list[str] | None
    options: Options
    out: Path | None
    resume: Path | None

    def opened(self) -> AbstractContextManager[Sweep]:
        """The sweep, whose folder is locked for the `with` block.

        Raises:
            ValueError: it has both a recipe and a sweep to resume, or lacks both.
        """
        from fastdfkd.tuning.sweep import interrupted_sweep, new_sweep

        if self.resume is not None:
            if self.recipe is not None:
                raise ValueError("--resume uses the recipe of the sweep: remove RECIPE and SPACE")
            return interrupted_sweep(self.resume)
        if self.recipe is None or self.space is None:
            raise ValueError("a sweep needs a RECIPE and a SPACE, or --resume DIR")
        return new_sweep(self.recipe, self.space, self.overrides or [], self.options, self.out)


def sweep(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A YAML file, or a recipe's name.",
            autocompletion=complete_recipe,
        ),
    ] = None,
    space: SpaceArgument = None,
    overrides: OverridesArgument = None,
    trials: TrialsOption = 10,
    search: Annotated[
        Literal["grid", "random", "optuna"],
        typer.Option("--search", help="How points are chosen."),
    ] = "random",
    scheduler: Annotated[
        Literal["fifo", "asha"], typer.Option("--scheduler", help="asha stops bad trials early.")
    ] = "fifo",
    objective: ObjectiveOption = None,
    seeds: SeedsOption = 1,
    out: OutOption = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="DIR", help="Resume the sweep in a folder."),
    ] = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the best settings of a recipe in a search space."""
    from fastdfkd.addresses.ray_cluster import check_named
    from fastdfkd.cli.printing import print_sweep, sweep_facts
    from fastdfkd.tuning.sweep import run_sweep
    from fastdfkd.tuning.trial_log import Options

    if resume is not None:
        why = "continues a sweep with its own options and folder"
        options_of_it = ("trials", "search", "scheduler", "objective", "seeds", "out")
        refuse_beside(context, "--resume", why, *options_of_it)
    options = Options(
        search=search, scheduler=scheduler, objective=objective or "", trials=trials, seeds=seeds
    )
    opened = SweepRequest(
        recipe=recipe, space=space, overrides=overrides, options=options, out=out, resume=resume
    ).opened()
    check_named(address)
    with opened as plan:
        run_sweep(plan, address=address, say=invocation.say if as_json else _say)
        if as_json:
            print_json(sweep_facts(plan))
        else:
            print_sweep(plan, _say)


def compare(
    context: typer.Context,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SETTING",
            help="Recipes, which are run, or finished runs, by folder or MLflow run id. "
            "KEY=VALUE changes all recipes.",
        ),
    ] = None,
    reference: ReferenceOption = "digits-deep-inversion",
    seeds: Annotated[
        int,
        typer.Option("--seeds", metavar="N", min=1, max=MOST_RUNS, help="Runs of each recipe."),
    ] = 3,
    accuracy: Annotated[
        float | None,
        typer.Option(
            "--accuracy", metavar="SHARE", help="Measure the time to this accuracy, such as 0.9."
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment", metavar="NAME", help="Compare the runs of an MLflow experiment."
        ),
    ] = None,
    out: OutOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare settings with a reference: speed-ups and accuracy."""
    from fastdfkd.addresses.ray_cluster import check_named
    from fastdfkd.cli.printing import comparison_facts, print_comparison
    from fastdfkd.comparison.compare import compare as compare_sources
    from fastdfkd.comparison.tracked_runs import compare_experiment

    if experiment is not None:
        if settings:
            raise ValueError("--experiment compares its own runs: remove the SETTING arguments")
        refuse_beside(context, "--experiment", "compares its own runs", "seeds", "address")
        comparison, folder = compare_experiment(
            experiment, reference, target_accuracy=accuracy, out=out
        )
    else:
        overrides = [word for word in settings or [] if "=" in word and not Path(word).exists()]
        check_named(address)
        comparison, folder = compare_sources(
            [word for word in settings or [] if word not in overrides],
            reference,
            overrides,
            seeds=seeds,
            target_accuracy=accuracy,
            out=out,
            address=address,
            say=invocation.say if as_json else _say,
        )
    if as_json:
        print_json(comparison_facts(comparison, folder))
        return
    print_comparison(comparison, _say)
    _say(f"\nReport, tables and pictures: {folder / 'report.html'}")


def ui(
    port: Annotated[
        int,
        typer.Option("--port", metavar="N", min=1, max=65535, help="Port to listen on."),
    ] = 5000,
) -> None:
    """Serve MLflow's UI on this machine, with links to the runs."""
    from fastdfkd.cli.ui import show

    raise typer.Exit(show(port, _say))


def _say(text: str) -> None:
    typer.echo(lines(text))


def register(app: typer.Typer) -> None:
    """Add the commands to the typer app."""
    app.command(
        epilog="Example: fastdfkd sweep digits-fast5 steps-and-meta-lr --trials 6 --scheduler asha"
    )(sweep)
    app.command(
        epilog="Example: fastdfkd compare digits-fast5 digits-fast2 "
        "--reference digits-deep-inversion --seeds 3"
    )(compare)
    app.command(epilog="Example: fastdfkd ui --port 5000")(ui)
