"""The quickstart: four runs on handwritten digits that show what 10x and 100x mean."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from fastdfkd.recipe import load_recipe
from fastdfkd.report.plots import accuracy_against_seconds
from fastdfkd.report.speedup import with_speedups
from fastdfkd.report.table import build_table, cells, csv_text, render_markdown, seconds, times
from fastdfkd.runs.folder import claim_folder, runs_folder, write_text
from fastdfkd.runs.folder_lock import lock_folder
from fastdfkd.runs.result import RunResult
from fastdfkd.text.safe_text import lines
from fastdfkd.tracking import ParentRun

REFERENCE = "deep-inversion"
SETTINGS = {
    REFERENCE: "digits-deep-inversion",
    "fast-10": "digits-fast10",
    "fast-5": "digits-fast5",
    "fast-2": "digits-fast2",
}
"""Recipe by setting, from the slowest synthesis to the fastest. The reference counts as 1x."""

_TITLE = "Handwritten digits: a teacher compressed without its data"


def run_quickstart(*, progress: bool = False, silent: bool = False) -> dict[str, RunResult]:
    """Run every setting in `runs/quickstart/<setting>/`, then write and print the report.

    The report is `table.md`, `table.csv` and `accuracy_vs_synthesis.png` in `runs/quickstart/`.
    Files of an earlier quickstart are replaced.

    Args:
        progress: show progress bars if stderr is a terminal.
        silent: print no report.

    Returns:
        The result of each setting, with speed-ups over the reference.
    """
    from fastdfkd.api.execution import warm_up
    from fastdfkd.platform import cluster

    folder = runs_folder() / "quickstart"
    folder.mkdir(parents=True, exist_ok=True)
    meanwhile = partial(warm_up, load_recipe(SETTINGS[REFERENCE]))
    with (
        lock_folder(folder),
        cluster.connect(None, meanwhile),
        ParentRun("quickstart") as parent,
    ):
        results: dict[str, RunResult] = {}
        for setting in SETTINGS:
            reference = results.get(REFERENCE)
            results[setting] = _run_setting(setting, folder, reference, parent.run_id, progress)
        files = _write_report(results, folder)
        parent.log(
            metrics={
                f"{setting}.{name}": value
                for setting, run in results.items()
                for name in ("accuracy", "synthesis_speedup", "end_to_end_speedup")
                if (value := getattr(run, name)) is not None
            },
            artifacts=files,
        )
    if not silent:
        _print_report(results, folder, parent.uri)
    return results


def _run_setting(
    setting: str, folder: Path, reference: RunResult | None, parent: str, progress: bool
) -> RunResult:
    """Run one setting. `reference` is None for the reference itself."""
    from fastdfkd.api.execution import execute

    recipe = load_recipe(SETTINGS[setting])
    with claim_folder(recipe.name, folder / setting, overwrite=True) as directory:
        return execute(
            recipe,
            directory,
            parent_run_id=parent,
            progress=progress,
            run_name=setting,
            complete=lambda run: with_speedups(reference or run, run),
        )


def explain(results: Mapping[str, RunResult], bullet: str = "  ") -> str:
    """Explain the speed-ups in three paragraphs."""
    cost = seconds(results[REFERENCE].synthesis_seconds_per_image)
    fast = {setting: run for setting, run in results.items() if setting != REFERENCE}
    return "\n\n".join(
        [
            f"{REFERENCE}, the 1x, needs {cost} of synthesis per image. Measured against that:",
            "\n".join(f"{bullet}{_first_to_reach(goal, fast)}" for goal in (10, 100)),
            "Synthesis speed-up compares the time to make images, as the paper does. End to end "
            "also includes storing them and training the student, whose cost faster synthesis does "
            "not change.",
        ]
    )


def caption(results: Mapping[str, RunResult]) -> str:
    """The note below the table: how the figures were measured and what they do not show."""
    images = results[REFERENCE].images
    return (
        f"{REFERENCE} made only {images} images: its cost per image (and per update) was measured "
        "and extrapolated to each row's images and updates, in the paper's sequential order. "
        "Digits is an easy data set: even images of an untrained generator teach a student much. "
        "It shows how the system works and what it costs, not which method is better. glyphs-fast5 "
        "is a harder recipe."
    )


def _first_to_reach(goal: int, fast: Mapping[str, RunResult]) -> str:
    """Name the slowest setting whose synthesis speed-up is at least `goal`."""
    for setting, run in fast.items():
        if (run.synthesis_speedup or 0.0) >= goal:
            cost = seconds(run.synthesis_seconds_per_image)
            return (
                f"{goal}x: {setting} is the first to reach it, at {cost} per image "
                f"({times(run.synthesis_speedup or 0.0)} in synthesis, "
                f"{times(run.end_to_end_speedup or 0.0)} end to end)."
            )
    return f"{goal}x: no setting reaches it on this machine."


def _write_report(results: Mapping[str, RunResult], folder: Path) -> list[Path]:
    table = build_table(results)
    files = [folder / name for name in ("table.md", "table.csv", "accuracy_vs_synthesis.png")]
    notes = f"{caption(results)}\n\n{explain(results, bullet='* ')}"
    write_text(files[0], f"# {_TITLE}\n\n{render_markdown(table, notes)}")
    write_text(files[1], csv_text(table))
    accuracy_against_seconds(
        {setting: [folder / setting] for setting in results},
        files[2],
        teacher_accuracy=results[REFERENCE].teacher_accuracy,
        title=_TITLE,
    )
    return files


def _print_report(results: Mapping[str, RunResult], folder: Path, uri: str) -> None:
    from rich.console import Console

    from fastdfkd.report.terminal_table import print_table

    print_table(*cells(build_table(results)), title=_TITLE, caption=caption(results))
    console = Console()
    mlflow = Path(sys.executable).parent / "mlflow"
    view = uri if uri.startswith("http") else f"{mlflow} ui --backend-store-uri {uri}"
    for text in (
        explain(results),
        f"Table, picture and runs: {folder}",
        f"The page of a run: fastdfkd report {shlex.quote(str(folder / 'fast-5'))}",
        f"All metrics in MLflow: {view}",
    ):
        console.print(f"\n{lines(text)}", soft_wrap=True, highlight=False, markup=False)
