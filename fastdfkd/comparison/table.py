"""The comparison as numbers: mean and sample standard deviation over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastdfkd.comparison.records import RunRecord
from fastdfkd.report.speedup import with_speedups
from fastdfkd.report.table import markdown_table, seconds, share, times
from fastdfkd.runs.result import RunResult
from fastdfkd.text import safe_text

if TYPE_CHECKING:
    import pandas as pd

    from fastdfkd.comparison.records import Comparison

GOALS = (10, 100)


def run_table(comparison: Comparison) -> pd.DataFrame:
    """One row a run: setting, seed, the figures, where it happened, whether it was re-used.

    A run's speed-ups are over the reference with the same seed; over the reference's first run
    where that seed is missing.
    """
    import pandas as pd

    references = {run.result.seed: run.result for run in comparison.runs[comparison.reference]}
    first = comparison.runs[comparison.reference][0].result
    rows = [
        _row(run, references.get(run.result.seed, first), comparison.goal)
        for runs in comparison.runs.values()
        for run in runs
    ]
    return pd.DataFrame(rows)


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """One row a setting: `<figure>` is the mean over seeds, `<figure> std` the deviation.

    `reached` counts the seeds that came to the named accuracy; `seconds_to_accuracy` is NaN unless
    all did. `mark` names the goal that the setting is the first to reach, in the order from slow
    to fast. `extrapolated` says that the reference was measured on fewer images.
    """
    runs = run_table(comparison)
    numbers = [name for name in FIGURES if name in runs.columns]
    grouped = runs.groupby("setting", sort=False)
    table = grouped[numbers].mean()
    table = table.join(grouped[numbers].std(ddof=1).add_suffix(" std"))
    counted = grouped["seconds_to_accuracy"].count()
    table["seeds"] = grouped.size()
    table["reached"] = counted
    missed = counted < table["seeds"]
    table.loc[missed, ["seconds_to_accuracy", "seconds_to_accuracy std"]] = math.nan
    table["reused"] = grouped["reused"].sum()
    at_reference: Any = table["seconds_to_accuracy"].to_dict()[comparison.reference]
    table["equal_accuracy_speedup"] = float(at_reference) / table["seconds_to_accuracy"]
    table["extrapolated"] = table["images"] > table.loc[comparison.reference, "images"]
    table["mark"] = ""
    for goal in GOALS:
        label = first_to_reach(table, goal, comparison.reference)
        if label is not None:
            table.loc[label, "mark"] = f"{table.loc[label, 'mark']} {goal}x".strip()
    return table.reset_index()


def first_to_reach(table: pd.DataFrame, goal: float, reference: str) -> Any:
    """Label of the slowest setting whose mean synthesis speed-up is at least `goal`, or None."""
    speedups = table["synthesis_speedup"].drop(reference)
    enough = speedups[speedups >= goal]
    return None if enough.empty else enough.idxmin()


def markdown_page(comparison: Comparison, table: pd.DataFrame, notes: Sequence[str]) -> str:
    """`table.md`: the title, the table, and what a reader must know."""
    parts = [f"# {safe_text.markdown(comparison.title)}", markdown(comparison, table).rstrip()]
    return "\n\n".join([*parts, *map(safe_text.markdown, notes)]) + "\n"


def markdown(comparison: Comparison, table: pd.DataFrame) -> str:
    """The table in Markdown, its marks in bold."""
    heads, rows = cells(comparison, table, marks=False)
    lines = markdown_table(heads, rows).splitlines()
    for place, mark in enumerate(table["mark"], 2):  # below the headings and their rule
        name, bar, rest = lines[place].partition(" | ")
        lines[place] = f"{name} **{mark}**{bar}{rest}" if mark else lines[place]
    return "\n".join(lines) + "\n"


def cells(
    comparison: Comparison, table: pd.DataFrame, *, marks: bool = True
) -> tuple[list[str], list[list[str]]]:
    """Headings and texts, `mean ± deviation`; `*` marks what was extrapolated."""
    heads = ["setting", "seeds", *(head for head, _ in FIGURES.values())]
    goal = "accuracy" if comparison.goal is None else f"{comparison.goal:.0%}"
    heads = [head.replace("GOAL", goal) for head in heads]
    heads.append("speed-up at that accuracy")
    rows = []
    for record in table.to_dict("records"):
        name = str(record["setting"])
        name += " (1x)" if name == comparison.reference else ""
        name += f" {record['mark']}" if marks and record["mark"] else ""
        count = f"{record['seeds']}"
        count += f" ({record['reused']} re-used)" if record["reused"] else ""
        equal = record["equal_accuracy_speedup"]
        shown = [_cell(str(figure), record) for figure in FIGURES]
        rows.append([name, count, *shown, "-" if math.isnan(equal) else times(equal)])
    return heads, rows


def words(comparison: Comparison, table: pd.DataFrame) -> list[str]:
    """What a reader of the table must know, a paragraph each."""
    by_label = table.set_index("setting")
    reference = comparison.reference
    found = [_goal_words(by_label, goal, reference) for goal in GOALS]
    images: Any = by_label["images"].to_dict()[reference]
    if table["extrapolated"].any():
        found.append(
            f"* {reference} was run for real on {images:,.0f} images. Its measured cost an image "
            "and an update was extrapolated to each setting's images and updates, in the paper's "
            "sequential order."
        )
    found += _where(comparison)
    found.append(
        "Figures are means ± sample standard deviation over seeds, which differ in everything "
        "random but the teacher. Synthesis speed-up counts the making of images alone, as the "
        "paper does; end to end counts storing them and training the student too."
    )
    if table["synthesizer_peak_memory_bytes"].notna().any():
        found.append(
            "Memory is the most that one process of the role held: what was allocated on its GPU, "
            "or what was resident on a CPU, where some hundred MiB are the libraries."
        )
    if comparison.runs[reference][0].result.recipe.startswith("digits"):
        found.append(
            "Digits is an easy set: it shows the machinery and the cost, not which method makes "
            "better images. What CIFAR gives only CIFAR can say."
        )
    return found


def _row(run: RunRecord, reference: RunResult, goal: float | None) -> dict[str, Any]:
    result = with_speedups(reference, run.result)
    reached = run.seconds_to(goal)
    return {
        "setting": run.label,
        "seed": result.seed,
        "accuracy": _number(result.accuracy),
        "agreement": _number(result.agreement),
        "teacher_accuracy": _number(result.teacher_accuracy),
        "images": result.images,
        "updates": result.updates,
        "synthesis_seconds_per_image": result.synthesis_seconds_per_image,
        "synthesis_speedup": result.synthesis_speedup,
        "synthesis_seconds": result.synthesis_seconds,
        "storage_seconds": result.storage_seconds,
        "distillation_seconds": result.distillation_seconds,
        "end_to_end_seconds": result.end_to_end_seconds,
        "end_to_end_speedup": result.end_to_end_speedup,
        "seconds_to_accuracy": _number(reached),
        "synthesizer_peak_memory_bytes": result.synthesizer_peak_memory_bytes or math.nan,
        "trainer_peak_memory_bytes": result.trainer_peak_memory_bytes or math.nan,
        "reused": run.reused,
        "commit": result.commit,
        "processor": result.hardware.get("processor", "unknown"),
        "cores": result.hardware.get("cores", "unknown"),
        "gpus": ", ".join(result.hardware.get("gpus", [])) or "none",
        "recipe_digest": result.recipe_digest,
    }


def _number(value: float | None) -> float:
    """NaN for None: a column of numbers holds no None."""
    return math.nan if value is None else value


def _goal_words(table: pd.DataFrame, goal: int, reference: str) -> str:
    label = first_to_reach(table, goal, reference)
    if label is None:
        best = table["synthesis_speedup"].drop(reference).max()
        return f"{goal}x: no setting reaches it here; the fastest has {times(best)} in synthesis."
    row = table.loc[label]
    return (
        f"{goal}x: {label} is the first to reach it, {times(row['synthesis_speedup'])} in "
        f"synthesis and {times(row['end_to_end_speedup'])} end to end, at "
        f"{share(row['accuracy'])} accuracy."
    )


def _where(comparison: Comparison) -> list[str]:
    """Hardware and commit; a warning where they differ."""
    runs = run_table(comparison)
    places = runs[["processor", "cores", "gpus"]].drop_duplicates().to_dict("records")
    shown = "; ".join(f"{p['processor']}, {p['cores']} cores, GPUs: {p['gpus']}" for p in places)
    commits = ", ".join(str(commit) for commit in runs["commit"].unique())
    found = [f"Hardware: {shown}. Commit: {commits}."]
    if len(places) > 1 or runs["commit"].nunique() > 1:
        found.append(
            "Warning: these runs are of different hardware or commits. Their accuracies may be "
            "compared; their seconds and speed-ups may not."
        )
    return found


def _cell(figure: str, record: Mapping[Any, Any]) -> str:
    mean, deviation = record[figure], record[f"{figure} std"]
    if figure == "seconds_to_accuracy" and record["reached"] < record["seeds"]:
        return f"{record['reached']} of {record['seeds']} seeds"
    if math.isnan(mean):
        return "-"
    show = FIGURES[figure][1]
    text = show(mean)
    if not math.isnan(deviation) and figure != "images":
        text += f" ± {show(deviation)}"
    star = record["extrapolated"] and figure.endswith("speedup")
    return f"{text} *" if star else text


def percent(value: float) -> str:
    """A share a person can read: `94.2 %`."""
    return f"{value * 100:.1f} %"


def _mebibytes(value: float) -> str:
    return f"{value / 2**20:,.0f} MiB"


FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("accuracy", percent),
    "agreement": ("agreement", percent),
    "images": ("images", lambda value: f"{value:,.0f}"),
    "synthesis_seconds_per_image": ("synthesis / image", seconds),
    "synthesis_speedup": ("synthesis speed-up", times),
    "end_to_end_seconds": ("end to end", seconds),
    "end_to_end_speedup": ("end-to-end speed-up", times),
    "seconds_to_accuracy": ("time to GOAL", seconds),
    "synthesizer_peak_memory_bytes": ("synthesizer memory", _mebibytes),
    "trainer_peak_memory_bytes": ("trainer memory", _mebibytes),
}
"""Columns of the table: heading, and how a figure is shown."""
