"""Texts that commands print on stdout: the result of a run, a teacher, an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from fastdfkd.report.table import share
from fastdfkd.runs.figures import FIGURES, MAIN, REAL, SYNTHETIC, main_figure, measured
from fastdfkd.text.safe_text import printable

if TYPE_CHECKING:
    from fastdfkd.api.evaluation import Evaluation
    from fastdfkd.runs.result import RunResult


_MORE = ("pixel_accuracy",)
"""Figures that a summary shows below the main one."""


def run_summary(result: RunResult) -> str:
    """Figures, times and warnings of a finished run, one line each."""
    figures = measured(result.model_dump(include=set(FIGURES)))
    rows = {
        figure.name: figure.show(figures[name])
        for name, figure in SYNTHETIC.items()
        if name in figures
    }
    main = main_figure(figures.keys() & REAL.keys())
    if result.updates and (not rows or main in figures):
        taught = share(result.of_teacher(main))
        rows = {
            REAL[main].name: f"{share(figures.get(main))} (teacher {taught})",
            **{REAL[name].name: share(figures[name]) for name in _MORE if name in figures},
            "agreement": f"{share(result.agreement)} with the teacher",
            **rows,
        }
    rows |= {
        "images": f"{result.images:,} synthesised, {_use(result)}",
        "synthesis": f"{result.synthesis_seconds:.1f} s "
        f"({result.synthesis_seconds_per_image * 1e3:.3g} ms per image)",
        "end to end": f"{result.end_to_end_seconds:.1f} s without evaluation",
        "run": f"{result.directory}",
    }
    width = max(map(len, rows)) + 1
    table = [*rows.items(), *(("warning", warning) for warning in result.warnings)]
    return "\n".join(f"{key:<{width}}{value}" for key, value in table)


def _use(result: RunResult) -> str:
    """What a run used its images for."""
    if not result.updates:
        return "no student"
    before = f"{result.started_images:,} from the start, " if result.started_images else ""
    return f"{before}{result.updates:,} student updates"


def evaluation_summary(evaluation: Evaluation) -> str:
    """Figures of an evaluation, one line each, and the images that they are of."""
    rows = {
        name: f"{share(value)} of {evaluation.images:,} {evaluation.judged_on}"
        for name, value in evaluation.figures.items()
    }
    if evaluation.figures or not evaluation.synthetic:
        rows["agreement"] = f"{share(evaluation.agreement)} ({evaluation.note})"
    rows |= {FIGURES[key].name: FIGURES[key].show(v) for key, v in evaluation.synthetic.items()}
    width = max(map(len, rows))
    table = [f"{name:<{width}} {text}" for name, text in rows.items()]
    if not evaluation.figures and evaluation.synthetic:
        table.append(f"on {evaluation.images:,} {evaluation.judged_on}, {evaluation.note}")
    if evaluation.class_ious:
        table += ["", class_table(evaluation.class_ious)]
    return "\n".join(table)


def teacher_summary(description: Mapping[str, Any], digest: str, weights: Path) -> str:
    """Figures of a trained teacher on held-out real images, its digest and its file."""
    rows = {
        REAL[name].name: f"{share(value)} on held-out real images"
        for name, value in measured(description).items()
        if name in (*MAIN, *_MORE)
    }
    rows |= {"digest": digest, "weights": str(weights)}
    width = max(10, *map(len, rows)) + 1
    table = [f"{name:<{width}}{text}" for name, text in rows.items()]
    ious = description.get("class_ious")
    return "\n".join([*table, class_table({"teacher": ious})] if ious else table)


def class_table(ious: Mapping[str, Mapping[str, float | None]]) -> str:
    """The intersection over union of each class as a table; `-` for a class that is absent.

    Args:
        ious: by network, then by class, 0 to 1 or None.
    """
    names = list(next(iter(ious.values())))
    columns = [["IoU of the class", *map(printable, names)]]
    for role, values in ious.items():
        cells = ("-" if value is None else share(value) for value in values.values())
        columns.append([role, *cells])
    widths = [max(map(cell_len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    return "\n".join(_row(cells, widths) for cells in rows)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The first cell aligned to the left, the others to the right."""
    first, *others = (
        (cell, " " * (width - cell_len(cell))) for cell, width in zip(cells, widths, strict=True)
    )
    return "  ".join(["".join(first), *(f"{space}{cell}" for cell, space in others)])
