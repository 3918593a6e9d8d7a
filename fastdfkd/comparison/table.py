"""The table of a comparison: mean and sample standard deviation over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastdfkd.comparison.records import RunRecord
from fastdfkd.report.speedup import started_note, with_speedups
from fastdfkd.report.table import markdown_table, seconds, share, times
from fastdfkd.runs.figures import FIGURES as JUDGED
from fastdfkd.runs.figures import REAL, SYNTHETIC, shown_columns
from fastdfkd.runs.result import RunResult
from fastdfkd.text import safe_text

if TYPE_CHECKING:
    import pandas as pd

    from fastdfkd.comparison.records import Comparison

GOALS = (10, 100)
"""Synthesis speed-ups; the table marks the first setting that reaches each."""


def run_table(comparison: Comparison) -> pd.DataFrame:
    """One row per run: setting, seed, figures, hardware, commit, and whether it was reused.

    Speed-ups are relative to the reference run with the same seed, or to the first reference run if
    there is none with that seed.
    """
    import pandas as pd

    references = {run.result.seed: run.result for run in comparison.runs[comparison.reference]}
    first = comparison.runs[comparison.reference][0].result
    rows = [
        _row(run, references.get(run.result.seed, first), comparison)
        for runs in comparison.runs.values()
        for run in runs
    ]
    return pd.DataFrame(rows)


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """One row per setting: `<figure>` is the mean over seeds, `<figure> std` the deviation.

    `reached` is the number of seeds that reached the target accuracy. `seconds_to_accuracy` is NaN
    unless all did. `mark` is set for the slowest setting that reaches a goal (`10x`, `100x`).
    `extrapolated` is true if the reference was measured on fewer images than the setting.
    """
    runs = run_table(comparison)
    numbers = [name for name in FIGURES if name in runs.columns]
    grouped = runs.groupby("setting", sort=False)
    table = grouped[numbers].mean()
    table = table.join(grouped[numbers].std(ddof=1).add_suffix(" std"))
    table["seeds"] = grouped.size()
    table["reached"] = grouped["seconds_to_accuracy"].count()
    missed = table["reached"] < table["seeds"]
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
    """The text of `table.md`: title, table and notes."""
    parts = [f"# {safe_text.markdown(comparison.title)}", markdown(comparison, table).rstrip()]
    return "\n\n".join([*parts, *map(safe_text.markdown, notes)]) + "\n"


def markdown(comparison: Comparison, table: pd.DataFrame) -> str:
    """The table in Markdown, with the marks in bold."""
    heads, rows = cells(comparison, table, marks=False)
    lines = markdown_table(heads, rows).splitlines()
    for number, mark in enumerate(table["mark"], 2):  # the first two lines are the heading
        name, bar, rest = lines[number].partition(" | ")
        lines[number] = f"{name} **{mark}**{bar}{rest}" if mark else lines[number]
    return "\n".join(lines) + "\n"


def cells(
    comparison: Comparison, table: pd.DataFrame, *, marks: bool = True
) -> tuple[list[str], list[list[str]]]:
    """Headings and cell texts, `mean ± deviation`; `*` marks an extrapolated speed-up."""
    columns = _columns(table)
    heads = ["setting", "seeds", *(FIGURES[name][0] for name in columns)]
    target, goal = comparison.target_accuracy, JUDGED[comparison.figure].name
    target_text = goal
    if target is not None:
        target_text = f"{target:.0%}" + ("" if goal == "accuracy" else f" {goal}")
    heads = [head.replace("TARGET", target_text) for head in heads]
    heads.append(f"speed-up at that {'agreement' if comparison.figure in SYNTHETIC else goal}")
    rows = []
    for record in table.to_dict("records"):
        name = str(record["setting"])
        name += " (1x)" if name == comparison.reference else ""
        name += f" {record['mark']}" if marks and record["mark"] else ""
        count = f"{record['seeds']}"
        count += f" ({record['reused']} re-used)" if record["reused"] else ""
        equal = record["equal_accuracy_speedup"]
        figures = [_cell(figure, record) for figure in columns]
        rows.append([name, count, *figures, "-" if math.isnan(equal) else times(equal)])
    return heads, rows


def named_by_figure(table: pd.DataFrame, figure: str) -> pd.DataFrame:
    """The table for a file: its columns are named after the figure that students are compared by.

    `seconds_to_accuracy` becomes `seconds_to_mean_iou` or `seconds_to_synthetic_agreement`. Columns
    of figures that are not measured on these images, which are empty, are left out.
    """
    empty = {"accuracy": _OF_MAPS, "mean_iou": _OF_IMAGES}.get(
        figure, (*_OF_MAPS, *_OF_IMAGES, "agreement")
    )
    left_out = {*empty, *(f"{name} std" for name in empty)}
    kept = table.drop(columns=[name for name in table if name in left_out])
    return kept.rename(columns={name: name.replace("accuracy", figure) for name in _BY_FIGURE})


_OF_IMAGES, _OF_MAPS = (
    ("accuracy", "teacher_accuracy"),
    ("mean_iou", "pixel_accuracy", "teacher_mean_iou"),
)
"""Columns that only one kind of task fills."""
_BY_FIGURE = ("seconds_to_accuracy", "seconds_to_accuracy std", "equal_accuracy_speedup")
"""Columns about the figure by which students are compared."""


def _columns(table: pd.DataFrame) -> list[str]:
    """The columns of the table: figures of an evaluation as far as they are measured."""
    measured = [name for name in JUDGED if name in table and table[name].notna().any()]
    left_out = set(JUDGED) - set(shown_columns(measured))
    return [name for name in FIGURES if name not in left_out]


def table_notes(comparison: Comparison, table: pd.DataFrame) -> list[str]:
    """The notes below the table, one paragraph each."""
    by_label = table.set_index("setting")
    reference = comparison.reference
    notes = [_goal_note(by_label, goal, reference, comparison.figure) for goal in GOALS]
    images: Any = by_label["images"].to_dict()[reference]
    if table["extrapolated"].any():
        notes.append(
            f"* {reference} was measured on {images:,.0f} images. Its cost per image and per "
            "update was extrapolated to the images and updates of each setting, in the paper's "
            "sequential order."
        )
    notes += _hardware_notes(comparison)
    notes += [
        f"Warning: {run.label}, seed {run.result.seed}: {warning}"
        for runs in comparison.runs.values()
        for run in runs
        for warning in run.result.warnings
    ]
    notes.append(
        "Figures are means ± sample standard deviation over seeds. All seeds share one teacher. "
        "Synthesis speed-up compares the time to make images, as the paper does; end to end also "
        "includes storing them and training the student."
    )
    if table["synthesizer_peak_memory_bytes"].notna().any():
        notes.append(
            "Memory is the peak of one process of the role: memory allocated on its GPU, or "
            "resident memory on a CPU, which includes some hundred MiB of libraries."
        )
    if comparison.figure in SYNTHETIC:
        notes.append(
            "There are no real images: students are compared by their agreement with the teacher "
            "on held-out synthetic images. That is no accuracy; docs/without-data.md says what it "
            "is worth."
        )
    started = {label: started_note(runs[0].result) for label, runs in comparison.runs.items()}
    notes += [f"{label} {note}" for label, note in started.items() if note]
    caution = comparison.runs[reference][0].images.caution
    return [*notes, caution] if caution else notes


def _row(run: RunRecord, reference: RunResult, comparison: Comparison) -> dict[str, Any]:
    result = with_speedups(reference, run.result)
    reached = run.seconds_to(comparison.target_accuracy, comparison.figure)
    return {
        "setting": run.label,
        "seed": result.seed,
        "accuracy": _number(result.accuracy),
        "mean_iou": _number(result.mean_iou),
        "pixel_accuracy": _number(result.pixel_accuracy),
        "agreement": _number(result.agreement),
        **{name: _number(getattr(result, name)) for name in SYNTHETIC},
        "teacher_accuracy": _number(result.teacher_accuracy),
        "teacher_mean_iou": _number(result.teacher_mean_iou),
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
    """The value, or NaN for None: a column of numbers holds no None."""
    return math.nan if value is None else value


def _goal_note(table: pd.DataFrame, goal: int, reference: str, figure: str) -> str:
    label = first_to_reach(table, goal, reference)
    if label is None:
        best = table["synthesis_speedup"].drop(reference).max()
        return f"{goal}x: no setting reaches it; the fastest has {times(best)} in synthesis."
    row = table.loc[label]
    return (
        f"{goal}x: {label} is the first to reach it, {times(row['synthesis_speedup'])} in "
        f"synthesis and {times(row['end_to_end_speedup'])} end to end, at "
        f"{share(row[figure])} {JUDGED[figure].name}."
    )


def _hardware_notes(comparison: Comparison) -> list[str]:
    """Hardware and commit of the runs, and a warning if they differ."""
    runs = run_table(comparison)
    machines = runs[["processor", "cores", "gpus"]].drop_duplicates().to_dict("records")
    hardware = "; ".join(
        f"{m['processor']}, {m['cores']} cores, GPUs: {m['gpus']}" for m in machines
    )
    commits = ", ".join(str(commit) for commit in runs["commit"].unique())
    notes = [f"Hardware: {hardware}. Commit: {commits}."]
    if len(machines) > 1 or runs["commit"].nunique() > 1:
        notes.append(
            "Warning: these runs are from different hardware or commits. Their accuracies can be "
            "compared; their seconds and speed-ups cannot."
        )
    return notes


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
    """Format a fraction: `94.2 %`."""
    return f"{value * 100:.1f} %"


def _mebibytes(value: float) -> str:
    return f"{value / 2**20:,.0f} MiB"


FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {
    **{name: (REAL[name].name, percent) for name in REAL if name != "top5_accuracy"},
    **{
        name: (figure.name, percent if figure.unit == "share" else figure.show)
        for name, figure in SYNTHETIC.items()
    },
    "images": ("images", lambda value: f"{value:,.0f}"),
    "synthesis_seconds_per_image": ("synthesis / image", seconds),
    "synthesis_speedup": ("synthesis speed-up", times),
    "end_to_end_seconds": ("end to end", seconds),
    "end_to_end_speedup": ("end-to-end speed-up", times),
    "seconds_to_accuracy": ("time to TARGET", seconds),
    "synthesizer_peak_memory_bytes": ("synthesizer memory", _mebibytes),
    "trainer_peak_memory_bytes": ("trainer memory", _mebibytes),
}
"""Columns of the table: heading and format function. `TARGET` stands for the target accuracy."""
