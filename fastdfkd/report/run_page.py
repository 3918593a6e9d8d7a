"""`report.html` of a run: what it reached, how it went, what it cost, how to repeat it.

The page is made from the files of the run's folder. A run in progress, one that failed and one of
an earlier release have fewer of them, and give a page of what there is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastdfkd.report import confusion_table
from fastdfkd.report.class_coverage import MOST_ROWS, coverage_line, coverage_rows
from fastdfkd.report.curves import draw_curves
from fastdfkd.report.page import embedded, render
from fastdfkd.report.run_contents import RunContents
from fastdfkd.report.run_figures import cost_rows, evaluation_table, origin_rows, reached_rows
from fastdfkd.report.status_screen import state_text
from fastdfkd.report.table import share
from fastdfkd.runs.details import Confusion
from fastdfkd.runs.figures import REAL, measured
from fastdfkd.runs.folder import REPORT_FILE, explain_write_errors, write_text
from fastdfkd.runs.status import Status, read_status

_AGAINST = {
    "teacher": "Student against teacher: the rows are the teacher's classes",
    "labels": "Student against labels: the rows are the labels",
}


def write_run_page(folder: Path, path: Path | None = None) -> Path:
    """Write the page of a run.

    Args:
        folder: of the run.
        path: file to write; unset: `report.html` in the folder.

    Returns:
        The file.

    Raises:
        FileNotFoundError: the folder holds no file of a run.
        OSError: the file cannot be written.
    """
    path = folder / REPORT_FILE if path is None else path
    page = run_page(folder)
    with explain_write_errors(path, ""):
        write_text(path, page)
    return path


def run_page(folder: Path) -> str:
    """The page of a run as HTML; see `write_run_page`."""
    run = RunContents(folder, read_status(folder))
    status, details = run.status, run.details
    recipe, made = status.recipe, details.made if details else []
    return render(
        "fastdfkd.report",
        "run.html",
        title=recipe.name if recipe else folder.resolve().name,
        about=recipe.description if recipe else "",
        state=state_text(status),
        written=time.strftime("%Y-%m-%d %H:%M %Z"),
        problems=status.warnings,
        notes=status.notes,
        verdict=_verdict(status),
        reached=reached_rows(status),
        class_ious=run.class_ious,
        curves=draw_curves(run.rows, run.teachers_main),
        evaluations=evaluation_table(run.rows),
        samples=run.samples,
        shows_students=any(each.student for found in run.samples.values() for each in found),
        sheet=run.sheet,
        has_maps=bool(run.class_ious) or bool(details and not details.sample_classes),
        coverage=coverage_line(made),
        covered=coverage_rows(made, details.class_names) if details else [],
        covers_all=len(made) <= MOST_ROWS,
        confusions=[_confusion(each, details.class_names) for each in details.confusions]
        if details
        else [],
        cost=cost_rows(status),
        profile=run.profile,
        exports=run.exports,
        commands=run.commands,
        teachers_note=_teachers_note(status),
        origin=origin_rows(run.result),
        recipe_text=run.recipe_text,
        unreadable=run.unreadable,
    )


def _verdict(status: Status) -> str:
    """What the figures are, in a sentence or two."""
    if status.images_only:
        return "This run makes images without a student."
    found = measured({**status.latest, **status.result})
    if not found:
        return "The student was not evaluated." if status.over else "It is not evaluated yet."
    if found.keys() & REAL.keys():
        return "On held-out real images, which neither network was trained on."
    return (
        "There are no real images, so the accuracy is unknown. Agreement is the share of held-out "
        "synthetic images to which the student assigns the class of its teacher."
    )


def _teachers_note(status: Status) -> str:
    """What repeating the run needs of its teacher."""
    match status.teacher.get("source"):
        case "module":
            return "The teacher was given from Python: call fastdfkd.distill with it again."
        case "weights":
            return f"The teacher's weights were {status.teacher.get('weights')}."
        case _:
            return ""


def _confusion(confusion: Confusion, names: Sequence[str]) -> dict[str, Any]:
    few = len(names) <= confusion_table.MOST_IN_A_TABLE
    total = confusion.total
    return {
        "title": _AGAINST[confusion.against],
        "about": f"{confusion.same:,} of {total:,} ({share(confusion.same / total)}) on "
        f"{confusion.judged_on} have the same class in row and column."
        if total
        else "Nothing was compared.",
        "names": names,
        "cells": confusion_table.cells(confusion, len(names)) if few else [],
        "picture": "" if few else embedded(confusion_table.picture(confusion, len(names))),
        "first": "teacher" if confusion.against == "teacher" else "label",
        "mistakes": confusion_table.mistakes(confusion, names),
    }
