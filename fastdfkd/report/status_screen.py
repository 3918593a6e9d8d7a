"""The screen of `fastdfkd status`: what `status.read_status` found, drawn with rich."""

from __future__ import annotations

import time
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
_CENTURY_S = 100 * 365 * 24 * 3600.0
_ANY_WIDTH = 10_000  # of a file or a pipe; the screen is as wide as its longest line


def show(directory: str | Path, *, watch: bool = False, every_s: float = 2.0) -> None:
    """Print the screen; with `watch`, on a terminal, again and again until the run is over."""
    console = Console()
    found = read_status(directory)
    if not console.is_terminal:
        console.width = _ANY_WIDTH
    if not (watch and console.is_terminal):
        console.print(screen(found))
        return
    with Live(screen(found), console=console, auto_refresh=False) as live:
        while not found.over:
            time.sleep(every_s)
            found = read_status(directory)
            live.update(screen(found), refresh=True)


def screen(status: Status) -> Panel:
    """One panel: state and progress, roles and rates, times, faults."""
    folder = Text(visible(status.directory), style="bold", overflow="fold")
    state = Text(
        visible(_sentence(status)), style=_COLOURS.get(status.state, "yellow"), overflow="fold"
    )
    parts: list[Any] = [folder, state, *_progress(status), Text(), _figures(status), Text()]
    return Panel(Group(*parts, _times(status)), expand=False)


def _sentence(status: Status) -> str:
    sentence = status.state
    if status.state == "silent":
        sentence += f": no news for {duration(status.quiet_s)}; it has stopped, or waits for long"
    if status.error:
        sentence += f": {status.error}"
    if status.left_s is not None:
        sentence += f", about {duration(status.left_s)} left"
    return sentence


def _progress(status: Status) -> list[Any]:
    if status.recipe is None:
        return []
    total, done = status.recipe.updates, status.latest.get("updates", 0)
    done = status.result.get("updates", done)
    return [
        Text(f"{done:,.0f} of {total:,} student updates"),
        ProgressBar(total=total, completed=done, width=50),
    ]


def _figures(status: Status) -> Table:
    """Roles, rates, bank, accuracy and faults, as label and value."""
    table = Table.grid(padding=(0, 3))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    said = [("note", note) for note in status.notes]
    for label, value in (*_roles(status), *_measured(status), ("faults", _faults(status)), *said):
        table.add_row(Text(label, style="bold"), Text(visible(value), overflow="fold"))
    return table


def _roles(status: Status) -> list[tuple[str, str]]:
    recipe, found = status.recipe, [("teacher", _UNKNOWN)]
    if recipe is not None:
        platform, method = recipe.platform, recipe.synthesis.summary
        trainers = _count(platform.workers, "worker") if platform.workers else "the driver"
        found = [
            ("recipe", f"{recipe.name} ({method}), {platform.schedule}"),
            ("roles", f"{_count(platform.synthesizers, 'synthesizer')}, student in {trainers}"),
            ("bank", str(BankPolicies.of(recipe))),
            ("teacher", f"{recipe.teacher.model} to {recipe.student.model}"),
        ]
    accuracy = status.teacher.get("accuracy")
    if isinstance(accuracy, float):
        found[-1] = ("teacher", f"{found[-1][1]}, teacher's accuracy {accuracy:.1%}")
    return found


def _measured(status: Status) -> list[tuple[str, str]]:
    latest = {**status.latest, **status.result}

    def said(key: str, form: str) -> str:
        return form.format(latest[key]) if key in latest else _UNKNOWN

    images = status.recipe and status.recipe.synthesis.rounds * status.recipe.synthesis.batch_size
    total = f" of {images:,}" if images else ""
    accuracy = f"{said('accuracy', '{:.1%}')}, agreement {said('agreement', '{:.1%}')}"
    idle = (
        f"synthesizers {said('synthesizer_idle_ratio', '{:.0%}')} of their time, "
        f"trainer {said('trainer_idle_ratio', '{:.0%}')}"
    )
    rates = f"{said('images_per_second', '{:,.1f}')} images/s a synthesizer, "
    return [
        ("student", f"accuracy {accuracy}, loss {said('loss', '{:.4g}')}"),
        ("images", f"{said('images', '{:,.0f}')}{total}, {said('bank_images', '{:,.0f}')} held"),
        ("rates", f"{rates}{said('updates_per_second', '{:,.1f}')} updates/s"),
        ("idle", idle),
        ("staleness", f"{said('staleness', '{:.0f}')} student versions, newest batch"),
    ]


def _faults(status: Status) -> str:
    if not status.faults:
        return "none counted"
    return ", ".join(
        f"{count:.0f} {_FAULTS.get(name, name)}" for name, count in status.faults.items()
    )


def _times(status: Status) -> Table:
    """The six times, and what share of the end-to-end time each is."""
    latest = {**status.latest, **status.result}
    whole = latest.get("end_to_end_seconds", 0.0)
    synthesizers = status.recipe.platform.synthesizers if status.recipe else 1
    table = Table(box=None, padding=(0, 3, 0, 0))
    for title, side in (("time", "left"), ("", "right"), ("of end to end", "right")):
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    for key in _TIMES:
        if key not in latest:
            continue
        processes = synthesizers if key.startswith("synth") else 1
        within = whole > 0 and key != "evaluation_seconds"  # which is left out of end to end
        share = f"{latest[key] / (whole * processes):.0%}" if within else _UNKNOWN
        table.add_row(key.removesuffix("_seconds").replace("_", " "), _s(latest[key]), share)
    table.add_row("end to end", _s(whole) if whole else _UNKNOWN, "")
    return table


def duration(seconds: float | None) -> str:
    """`1:02:03`, to the second; nothing of what no clock can have shown."""
    if seconds is None or not 0 <= seconds < _CENTURY_S:
        return _UNKNOWN
    return str(timedelta(seconds=round(seconds)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _s(seconds: float) -> str:
    return f"{seconds:,.1f} s"
