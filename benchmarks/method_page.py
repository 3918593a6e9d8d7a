"""Table and picture of `benchmarks/methods.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev

from benchmarks.method_settings import FAST
from benchmarks.student_rows import Row, by_setting
from fastdfkd.report.drawing import accuracy_axis, legend, picture, seconds_axis, style
from fastdfkd.report.table import markdown_table
from fastdfkd.runs.environment import commit, hardware

SYNTHESIS_SECONDS = (2, 5, 10, 20, 30, 60, 120, 200, 300)
"""At which the methods are compared by synthesis seconds, as far as any of them comes."""

SYMPTOMS = {
    "classes": "images of most classes never come",
    "alike": "the images look alike",
    "unsure": "the teacher is unsure about the images",
    "student": "the student stops learning",
}
"""What a run's monitor may find (`core/collapse.py`)."""


def times_of(rows: Sequence[Row]) -> list[int]:
    """The times of all readings, rising."""
    return sorted({reading["seconds"] for row in rows for reading in row["readings"]})


def at_end_to_end(row: Row, seconds: float) -> float | None:
    """Accuracy of a row's reading at `seconds`; None if there is none."""
    found = [each["accuracy"] for each in row["readings"] if each["seconds"] == seconds]
    return found[0] if found else None


def at_synthesis(row: Row, seconds: float) -> float | None:
    """Accuracy of a row when its synthesis had taken `seconds`, between two of its readings.

    None before the first and after the last reading.
    """
    points = [(each["synthesis_seconds"], each["accuracy"]) for each in row["readings"]]
    for (start, before), (end, after) in pairwise(points):
        if start <= seconds <= end:
            share = (seconds - start) / (end - start) if end > start else 1.0
            return float(before + share * (after - before))
    return None


def _cell(values: Sequence[float | None]) -> str:
    """Mean ± sample standard deviation in percent; how many there are, if some are missing."""
    known = [value * 100 for value in values if value is not None]
    if not known:
        return "-"
    spread = f" ± {stdev(known):.1f}" if len(known) > 1 else ""
    missing = f" ({len(known)} of {len(values)})" if len(known) < len(values) else ""
    return f"{fmean(known):.1f}{spread}{missing}"


def page(data: str, rows: Sequence[Row]) -> str:
    """The results as Markdown."""
    machine, times = hardware(), times_of(rows)
    seeds = sorted({row["seed"] for row in rows})
    speeds = [each["forward_seconds"] for row in rows for each in row["readings"]]
    title = f"# All methods at equal seconds: {data}"
    if not times:
        return f"{title}\n\nNo run has a reading.\n"
    how = "--quick " if data == "digits" else ""
    lines = [
        title,
        f"`python -m benchmarks.methods {how}--budget {times[-1]} --seeds {len(seeds)}`; seeds "
        f"{', '.join(map(str, seeds))}; {machine.get('processor')}, {machine.get('cores')} cores, "
        f"shared with other work; commit {commit()}. Settings: `benchmarks/method_settings.py`.",
        "Seconds are processor seconds of a process with one torch thread, in lock-step. In the "
        "last fifth of the time the student's rate falls to its minimum. Accuracy on held-out "
        "real images in percent, mean ± sample standard deviation over the seeds. `-`: not "
        "reached.",
        f"How busy the machine was: a forward pass of the teacher took {min(speeds) * 1e3:.0f} to "
        f"{max(speeds) * 1e3:.0f} ms of processor time, median {_median(speeds) * 1e3:.0f} ms.",
        "## At equal end-to-end seconds",
        _accuracies(rows, times, at_end_to_end),
        "## At equal synthesis seconds",
        "Interpolated between the readings above.",
        _accuracies(rows, SYNTHESIS_SECONDS, at_synthesis),
        "## What a run has made at its last reading",
        _made(rows),
        *_order(rows, times),
    ]
    return "\n\n".join(line.rstrip() for line in lines) + "\n"


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _accuracies(
    rows: Sequence[Row],
    times: Sequence[int],
    value: Callable[[Row, float], float | None],
) -> str:
    """A line for each method, a column for each time that any run has reached."""
    reached = [each for each in times if any(value(row, each) is not None for row in rows)]
    table = [
        [label, *(_cell([value(row, seconds) for row in group]) for seconds in reached)]
        for label, group in by_setting(rows).items()
    ]
    return markdown_table(["method", *(f"{seconds} s" for seconds in reached)], table)


def _made(rows: Sequence[Row]) -> str:
    """Images, updates and the share of synthesis, and what went wrong."""
    table = []
    for label, group in by_setting(rows).items():
        last = [row["readings"][-1] for row in group if row["readings"]]
        told = sorted({symptom for each in last for symptom in each["symptoms"]})
        wrong = [_said(SYMPTOMS[one], one, last) for one in told]
        wrong += [f"seed {row['seed']}: {row['diverged']}" for row in group if "diverged" in row]
        means = ["-"] * 3
        if last:
            shares = [
                each["synthesis_seconds"]
                / (each["synthesis_seconds"] + each["distillation_seconds"])
                for each in last
            ]
            means = [
                f"{fmean(each['images'] for each in last):,.0f}",
                f"{fmean(each['updates'] for each in last):,.0f}",
                f"{fmean(shares):.0%}",
            ]
        table.append([label, *means, "; ".join(wrong)])
    return markdown_table(
        ["method", "images", "student updates", "share of synthesis", "what went wrong"], table
    )


def _said(text: str, symptom: str, last: Sequence[Row]) -> str:
    count = sum(symptom in each["symptoms"] for each in last)
    return f"{text} ({count} of {len(last)} seeds)"


def _order(rows: Sequence[Row], times: Sequence[int]) -> list[str]:
    """Whether the ablations of sharing the generator are in the order of the paper."""
    groups = by_setting(rows)
    if any(label not in groups for label in FAST):
        return []
    found = []
    for seconds in times:
        means = []
        for label in FAST:
            values = [at_end_to_end(row, seconds) for row in groups[label]]
            known = [value for value in values if value is not None]
            means.append(fmean(known) * 100 if known else None)
        if None not in means:
            holds = means == sorted(means, key=lambda mean: -(mean or 0.0))
            shown = ", ".join(f"{mean:.1f}" for mean in means)
            found.append(f"* {seconds} s: {shown}: {'as' if holds else 'not as'} in the paper")
    heading = "## Sharing the generator"
    text = f"The paper has meta above sequential above none. Means of {', '.join(FAST)}:"
    return [heading, text, "\n".join(found)]


def draw(rows: Sequence[Row], path: Path, data: str) -> None:
    """Accuracy over end-to-end seconds (left) and over synthesis seconds (right)."""
    groups = by_setting(rows)
    with picture(path, 13, 6.5, rows=1, columns=2) as (left, right):
        for axes, clock in ((left, "seconds"), (right, "synthesis_seconds")):
            for index, (label, group) in enumerate(groups.items()):
                points = _means(group, clock)
                if points:
                    named = label if axes is left else None  # once in the legend
                    axes.errorbar(*zip(*points, strict=True), label=named, **style(index))
            seconds_axis(axes, "end to end" if clock == "seconds" else "synthesis")
            accuracy_axis(axes, None, "accuracy on held-out real images")
        left.set_title(f"All methods on {data}", loc="left")
        legend(left, list(groups))


def _means(group: Sequence[Row], clock: str) -> list[tuple[float, float, float]]:
    """Mean seconds, mean accuracy and its deviation in percent at each reading of all seeds."""
    points = []
    for readings in zip(*(row["readings"] for row in group), strict=False):
        accuracies = [each["accuracy"] * 100 for each in readings]
        spread = stdev(accuracies) if len(accuracies) > 1 else 0.0
        points.append((fmean(each[clock] for each in readings), fmean(accuracies), spread))
    return points
