"""The end of a run: write the student and sample images, and collect the result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.experiment import by_class, image_spec
from fastdfkd.models import save_weights
from fastdfkd.platform.accounting import SynthesisTotals
from fastdfkd.platform.monitor import times
from fastdfkd.recipe import Recipe
from fastdfkd.report.samples import save_grid
from fastdfkd.runs.environment import commit, hardware, versions
from fastdfkd.runs.figures import FIGURES
from fastdfkd.runs.result import RunResult
from fastdfkd.trainers.weights import to_tensors

if TYPE_CHECKING:
    from fastdfkd.trainers.teacher import Teacher

_GRID_IMAGES = 64


def finish(
    recipe: Recipe,
    teacher: Teacher,
    directory: Path,
    totals: SynthesisTotals,
    final: dict[str, Any],
    images: Any,
    start_time: float,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> RunResult:
    """Write `student.safetensors` and `samples.png`; return the run's figures.

    Args:
        recipe: the run's recipe.
        teacher: the distilled teacher.
        directory: the run's folder.
        totals: sums over all batches.
        final: what the trainer left on the board: its last `row`, the final `student` weights (none
            if only images were made) and the `precision` that was used.
        images: newest batch, (B, C, H, W) uint8.
        start_time: `time.monotonic()` at the start of the run.
        notes: deviations from the recipe, a sentence each.
        warnings: of the run, a line each.
    """
    if (student := final.get("student")) is not None:
        save_weights(directory / "student.safetensors", to_tensors(student))
    save_grid(images[:_GRID_IMAGES], directory / "samples.png")
    row = final["row"]
    return RunResult(
        recipe=recipe.name,
        recipe_digest=recipe.digest(),
        seed=recipe.seed,
        teacher_accuracy=teacher.accuracy,
        teacher_mean_iou=teacher.description.get("mean_iou"),
        class_ious=by_class(image_spec(recipe), final.get("class_ious", ())),
        teacher_digest=teacher.digest,
        **{name: row.get(name) for name in FIGURES},
        input=teacher.description.get("input", {}),
        images=totals.images,
        updates=int(row["updates"]) if student is not None else 0,
        synthesis_seconds=totals.sum("synthesis_seconds"),
        distillation_seconds=row["distillation_seconds"],
        evaluation_seconds=row["evaluation_seconds"],
        synthesizer_idle_seconds=totals.sum("idle_seconds"),
        synthesizer_idle_ratio=totals.idle_ratio,
        **times(row, totals),
        wall_seconds=time.monotonic() - start_time,
        synthesizer_peak_memory_bytes=totals.peak_memory_bytes,
        trainer_peak_memory_bytes=int(row["trainer_peak_memory_bytes"]),
        max_staleness=totals.max_staleness,
        precision=final["precision"],
        versions=versions(),
        hardware=hardware(),
        commit=commit(),
        notes=list(notes),
        warnings=list(warnings),
        directory=directory,
    )
