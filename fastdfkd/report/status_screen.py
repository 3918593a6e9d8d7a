"""The screen of `fastdfkd status`: draws a `runs.status.Status` with rich."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fastdfkd.recipe.policies import BankPolicies
from fastdfkd.runs.figures import FIGURES, MAIN, measured
from fastdfkd.runs.status import Status, read_status
from fastdfkd.text.safe_text import visible

_COLOURS = {"finished": "green", "running": "cyan", "starting": "cyan", "failed": "red"}
_TIMES = (
    "synthesis_seconds",
    "storage_seconds",
    "distillation_seconds",
    "evaluation_seconds",
    "synthesizer_idle_seconds",
    "trainer_idle_seconds",
)
_FAULTS = {
    "restarts": "synthesizer restarts",
    "worker_restarts": "worker restarts",
    "bank_restarts": "bank restarts",
    "board_restarts": "board restarts",
    "rejected": "batches rejected",
    "lost": "batches lost",
}
_UNKNOWN = "-"
_MAX_DURATION_S = 100 * 365 * 24 * 3600.0  # a longer time comes from a damaged file
_PIPE_WIDTH = 10_000  # columns for a file or a pipe, so that no line is wrapped


def show(directory: str | Path, *, watch: bool = False, every_s: float = 2.0) -> None:
    """Print the screen; with `watch` on a terminal, update it until the run is over.

    A file or a pipe gets its lines without the frame, which would be as wide as the longest.

    Raises:
        FileNotFoundError: the folder holds no file of a run.
    """
    console = Console()
    status = read_status(directory)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
        with console.capture() as captured:
            console.print(_contents(status))
        print("\n".join(line.rstrip() for line in captured.get().splitlines()))
        return
    if not watch:
        console.print(screen(status))
        return
    with Live(screen(status), console=console, auto_refresh=False) as live:
        while not status.over:
            time.sleep(every_s)
            status = read_status(directory)
            live.update(screen(status), refresh=True)


def screen(status: Status) -> Panel:
    """One panel with state, progress, details and times."""
    return Panel(_contents(status), expand=False)


def _contents(status: Status) -> Group:
    folder = Text(visible(status.directory), style="bold", overflow="fold")
    state = Text(
        visible(state_text(status)), style=_COLOURS.get(status.state, "yellow"), overflow="fold"
    )
    parts: list[Any] = [folder, state, *_progress(status), Text(), _details(status), Text()]
    return Group(*parts, _times(status))


def state_text(status: Status) -> str:
    """The state with the error, or with what is known of a run that goes on."""
    text = status.state
    if status.state == "silent":
        text += f": no file has changed for {duration(status.quiet_s)}; stopped, or waiting"
    if status.error:
        text += f": {status.error}"
    if status.left_s is not None:
        text += f", about {duration(status.left_s)} left"
    return text


def _progress(status: Status) -> list[Any]:
    if status.recipe is None:
        return []
    latest, synthesis = {**status.latest, **status.result}, status.recipe.synthesis
    total, counted, what = status.recipe.updates, "updates", "student updates"
    if status.images_only:
        total, counted, what = synthesis.rounds * synthesis.batch_size, "images", "images"
    done = latest.get(counted, 0)
    return [
        Text(f"{done:,.0f} of {total:,} {what}"),
        ProgressBar(total=total, completed=done, width=50),
    ]


def _details(status: Status) -> Table:
    """Rows of label and value: roles, figures, faults, warnings and notes."""
    table = Table.grid(padding=(0, 3))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    notes = [("warning", warning) for warning in status.warnings]
    notes += [("note", note) for note in status.notes]
    for label, value in (*_roles(status), *_figures(status), ("faults", _faults(status)), *notes):
        table.add_row(Text(label, style="bold"), Text(visible(value), overflow="fold"))
    return table


def _roles(status: Status) -> list[tuple[str, str]]:
    """Recipe, roles, bank and teacher."""
    recipe, rows = status.recipe, [("teacher", _UNKNOWN)]
    if recipe is not None:
        platform, method = recipe.platform, recipe.synthesis.summary
        trainers = _count(platform.workers, "worker") if platform.workers else "the driver"
        to = f" to {recipe.student.shown}"
        student = "no student: images only" if status.images_only else f"student in {trainers}"
        rows = [
            ("recipe", f"{recipe.name} ({method}), {platform.schedule}"),
            ("roles", f"{_count(platform.synthesizers, 'synthesizer')}, {student}"),
            ("bank", str(BankPolicies.of(recipe))),
            ("teacher", recipe.teacher.shown + ("" if status.images_only else to)),
        ]
    for name in MAIN:
        if isinstance(value := status.teacher.get(name), float):
            rows[-1] = ("teacher", f"{rows[-1][1]}, teacher's {FIGURES[name].name} {value:.1%}")
    if isinstance(images := status.teacher.get("input"), dict):
        rows.append(("input", ", ".join(f"{key} {value}" for key, value in images.items())))
    return rows


def _figures(status: Status) -> list[tuple[str, str]]:
    """Student, images, rates, idle time and staleness, from the newest values."""
    latest = {**status.latest, **status.result}

    def text(key: str, form: str) -> str:
        return form.format(latest[key]) if key in latest else _UNKNOWN

    images = status.recipe and status.recipe.synthesis.rounds * status.recipe.synthesis.batch_size
    total = f" of {images:,}" if images else ""
    idle = (
        f"synthesizers {text('synthesizer_idle_ratio', '{:.0%}')} of their time, "
        f"trainer {text('trainer_idle_ratio', '{:.0%}')}"
    )
    newest = (
        f"images: teacher's confidence {text('newest_confidence', '{:.0%}')}, "
        f"{text('newest_coverage', '{:.0%}')} of the classes, "
        f"{text('newest_distinct', '{:.0%}')} distinct"
    )
    rates = f"{text('images_per_second', '{:,.1f}')} images/s per synthesizer, "
    return [
        ("student", f"{_judged(latest)}, loss {text('loss', '{:.4g}')}"),
        ("images", f"{text('images', '{:,.0f}')}{total}, {text('bank_images', '{:,.0f}')} in bank"),
        ("newest", newest),
        ("rates", f"{rates}{text('updates_per_second', '{:,.1f}')} updates/s"),
        ("idle", idle),
        ("staleness", f"{text('staleness', '{:.0f}')} student versions, newest batch"),
    ]


def _judged(latest: Mapping[str, float]) -> str:
    """What the newest evaluation measured."""
    found = measured(latest)
    found.pop("top5_accuracy", None)
    texts = [f"{FIGURES[name].name} {FIGURES[name].show(value)}" for name, value in found.items()]
    return ", ".join(texts) or "not evaluated yet"


def _faults(status: Status) -> str:
    if not status.faults:
        return "none counted"
    return ", ".join(
        f"{count:.0f} {_FAULTS.get(name, name)}" for name, count in status.faults.items()
    )


def _times(status: Status) -> Table:
    """The six times, each with its share of the end-to-end time."""
    latest = {**status.latest, **status.result}
    end_to_end = latest.get("end_to_end_seconds", 0.0)
    synthesizers = status.recipe.platform.synthesizers if status.recipe else 1
    table = Table(box=None, padding=(0, 3, 0, 0))
    for title, side in (("time", "left"), ("", "right"), ("of end to end", "right")):
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    for key in _TIMES:
        if key not in latest:
            continue
        processes = synthesizers if key.startswith("synth") else 1
        counts = end_to_end > 0 and key != "evaluation_seconds"  # end to end leaves it out
        share = f"{latest[key] / (end_to_end * processes):.0%}" if counts else _UNKNOWN
        table.add_row(key.removesuffix("_seconds").replace("_", " "), _s(latest[key]), share)
    table.add_row("end to end", _s(end_to_end) if end_to_end else _UNKNOWN, "")
    return table


def duration(seconds: float | None) -> str:
    """`1:02:03`; `-` for None, a negative number, or more than a hundred years."""
    if seconds is None or not 0 <= seconds < _MAX_DURATION_S:
        return _UNKNOWN
    return str(timedelta(seconds=round(seconds)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _s(seconds: float) -> str:
    return f"{seconds:,.1f} s"
