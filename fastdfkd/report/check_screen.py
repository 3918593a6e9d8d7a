"""The screen of `fastdfkd check`: draws a `CheckReport` with rich."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastdfkd.core.network_facts import counted
from fastdfkd.report.check_report import CheckReport, NetworkReport
from fastdfkd.report.status_screen import duration
from fastdfkd.runs.figures import FIGURES
from fastdfkd.text.safe_text import visible

_PIPE_WIDTH = 10_000  # columns for a file or a pipe, so that no line is wrapped
_SOURCES = {
    "weights": "weights from a file",
    "trained": "trained here earlier, from the cache",
    "untrained": "NOT TRAINED YET: a run trains it first",
    "module": "given from Python",
    "network": "weights that came with the network",
    "initial": "freshly drawn weights",
    "selected": "weights selected from the teacher's",
}
_MINUTES = 120
"""Seconds from which a duration is also shown as hours, minutes and seconds."""


def show(report: CheckReport, console: Console | None = None) -> None:
    """Print the report; its warnings come last."""
    console = console or Console()
    if console.is_terminal:
        console.print(table(report))
        return
    console.width = _PIPE_WIDTH
    with console.capture() as captured:  # a grid fills its lines with spaces
        console.print(table(report))
    text = "\n".join(line.rstrip() for line in captured.get().splitlines())
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def table(report: CheckReport) -> Table:
    """A grid of labels and texts."""
    grid = Table.grid(padding=(0, 3))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in rows(report):
        style = "yellow" if label == "warning" else ""
        grid.add_row(Text(label, style="bold"), Text(visible(text), style=style, overflow="fold"))
    return grid


def rows(report: CheckReport) -> Iterator[tuple[str, str]]:
    """Label and text of each line."""
    images = report.images
    yield "recipe", report.recipe
    yield (
        "images",
        f"{images['data']}, {'x'.join(map(str, images['shape']))}, {images['classes']} classes, "
        f"mean {_numbers(images['mean'])}, std {_numbers(images['std'])}",
    )
    yield from _network("teacher", report.teacher)
    yield "held-out images", _held_out(report)
    yield "normalisation", str(report.normalisation["line"])
    yield from _network("student", report.student)
    for key, line in report.compared_maps.items():
        yield f"  {key}", line
    yield from _run(report)
    for warning in report.warnings:
        yield "warning", warning


def _network(role: str, found: NetworkReport) -> Iterator[tuple[str, str]]:
    yield role, f"{found.model} ({found.network}), {_SOURCES.get(found.source, found.source)}"
    if found.opened:
        yield "  opened", _opened(found.opened)
    yield "  layers", f"{counted(found.layers)}; {found.parameters:,} parameters"
    macs = "unknown" if found.macs is None else f"{found.macs / 1e6:,.4g} million an image"
    yield "  multiply-accumulates", macs
    yield "  with statistics", counted(found.statistics) or "none"
    logits = "x".join(map(str, found.logits))
    yield "  answers", f"{found.answer}; {logits} {found.output} an image"
    made = [name for name, reason in found.fast_paths.items() if not reason]
    yield "  fast paths", ", ".join(made) or "none"
    for name, reason in found.fast_paths.items():
        if reason:
            yield f"  not {name}", reason


def _opened(opened: dict[str, Any]) -> str:
    kind = f": {opened['kind']}" if opened.get("kind") else ""
    entry = f", entry {opened['entry']}" if opened.get("entry") else ""
    prefix = f", prefix {opened['prefix']} removed" if opened.get("prefix") else ""
    unused = opened.get("unused") or ()
    beside = f", {len(unused)} tensors unused" if unused else ""
    return f"{opened['file']}{kind}{entry}{prefix}, all {opened['matched']} tensors matched{beside}"


def _held_out(report: CheckReport) -> str:
    found = report.held_out
    if not found.figures:
        return f"no figures: {'the teacher is untrained' if found.of else 'there are none'}"
    part = f"{found.images:,} of {found.of:,}" if found.images < found.of else f"{found.of:,}"
    shares = ", ".join(f"{FIGURES[name].name} {value:.1%}" for name, value in found.figures.items())
    return f"teacher's {shares} ({part} {found.judged_on})"


def _compiled(wish: object) -> str:
    """What is compiled; the estimate is that of uncompiled steps."""
    if not wish:
        return ""
    return ", compiled where that pays (not estimated)" if wish == "auto" else ", compiled"


def _run(report: CheckReport) -> Iterator[tuple[str, str]]:
    plan, estimate, schedule = report.plan, report.estimate, report.schedule
    trainers = f"{plan['workers']} workers" if plan["workers"] else "the driver"
    yield (
        "run here",
        f"{plan['device']}, {plan['precision']}{', CUDA graphs' * plan['cuda_graphs']}"
        f"{_compiled(plan.get('compile'))}, "
        f"{plan['schedule']}, {plan['synthesizers']} "
        f"synthesizers, student in {trainers}",
    )
    if plan.get("share"):
        yield "  share", plan["share"]
    yield (
        "  synthesis",
        f"{_seconds(estimate['synthesis_step_seconds'])} a step; "
        f"{_seconds(estimate['synthesis_seconds'])} for {schedule['images']:,} images",
    )
    yield (
        "  distillation",
        f"{_seconds(estimate['update_seconds'])} an update; "
        f"{_seconds(estimate['distillation_seconds'])} for {schedule['updates']:,} updates",
    )
    yield from _scaled("synthesis", estimate["measured_synthesis_images"], schedule["round_images"])
    yield from _scaled("updates", estimate["measured_update_images"], schedule["update_images"])
    if schedule["started_images"]:
        yield "  bank", f"{schedule['started_images']:,} images before the first round"
    if plan.get("bank_location", "device") != "device":
        yield "  bank", plan["bank"]
    yield "  end to end", f"about {_seconds(estimate['end_to_end_seconds'])} without evaluation"
    yield (
        "  memory",
        f"{_megabytes(estimate['synthesizer_peak_memory_bytes'])} a synthesizer, "
        f"{_megabytes(estimate['trainer_peak_memory_bytes'])} a trainer, of which the bank "
        f"{_megabytes(estimate['bank_bytes'])}",
    )
    yield "check", f"took {_seconds(report.seconds)}"


def _scaled(what: str, measured: int, whole: int) -> Iterator[tuple[str, str]]:
    """A line if a part of a batch was measured."""
    if measured < whole:
        yield "  measured", f"{what} with {measured} of {whole} images, scaled by their number"


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _seconds(value: float) -> str:
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    text = f"{value:.3g} s" if value < _MINUTES else f"{value:,.0f} s"
    return f"{text} ({duration(value)})" if value >= _MINUTES else text


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
