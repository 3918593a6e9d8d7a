"""Texts that commands print on stdout: the result of a run, and of an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdfkd.report.table import share
from fastdfkd.runs.figures import FIGURES, SYNTHETIC, measured

if TYPE_CHECKING:
    from fastdfkd.api.evaluation import Evaluation
    from fastdfkd.runs.result import RunResult


def run_summary(result: RunResult) -> str:
    """Figures, times and warnings of a finished run, one line each."""
    figures = measured(result.model_dump(include=set(FIGURES)))
    rows = {
        figure.name: figure.show(figures[name])
        for name, figure in SYNTHETIC.items()
        if name in figures
    }
    if result.updates and (not rows or result.accuracy is not None):
        rows = {
            "accuracy": f"{share(result.accuracy)} (teacher {share(result.teacher_accuracy)})",
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
    return "\n".join(table)
