"""The end of a run: write the student and sample images, and collect the result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from fastdfkd.experiment import Experiment, by_class
from fastdfkd.models import save_weights
from fastdfkd.platform.accounting import SynthesisTotals
from fastdfkd.platform.monitor import times
from fastdfkd.platform.sample_classes import predicted_classes
from fastdfkd.report.map_samples import save_maps
from fastdfkd.report.samples import save_grid
from fastdfkd.runs.details import RunDetails
from fastdfkd.runs.environment import commit, hardware, versions
from fastdfkd.runs.figures import FIGURES
from fastdfkd.runs.result import RunResult
from fastdfkd.trainers.bank_loader import as_tensor
from fastdfkd.trainers.weights import to_tensors

if TYPE_CHECKING:
    from fastdfkd.trainers.teacher import Teacher

_GRID_IMAGES = 64


def finish(
    experiment: Experiment,
    teacher: Teacher,
    directory: Path,
    totals: SynthesisTotals,
    final: dict[str, Any],
    images: Any,
    start_time: float,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> RunResult:
    """Write `student.safetensors`, `samples.png` and `details.json`; return the run's figures.

    Args:
        experiment: with the run's recipe.
        teacher: the distilled teacher.
        directory: the run's folder.
        totals: sums over all batches.
        final: what the trainer left on the board: its last `row`, the final `student` weights (none
            if only images were made), the `precision` and `cuda_graphs` (`on` or `off`) that were
            used, and what the last evaluation found of the classes.
        images: newest batch, (B, C, H, W) uint8.
        start_time: `time.monotonic()` at the start of the run.
        notes: deviations from the recipe, a sentence each.
        warnings: of the run, a line each.
    """
    _write_files(experiment, directory, totals, final, images)
    recipe, row = experiment.recipe, final["row"]
    return RunResult(
        recipe=recipe.name,
        recipe_digest=recipe.digest(),
        seed=recipe.seed,
        teacher_accuracy=teacher.accuracy,
        teacher_mean_iou=teacher.description.get("mean_iou"),
        class_ious=by_class(experiment.spec, final.get("class_ious", ())),
        teacher_digest=teacher.digest,
        **{name: row.get(name) for name in FIGURES},
        input=teacher.description.get("input", {}),
        images=totals.images,
        updates=int(row["updates"]) if final.get("student") is not None else 0,
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
        cuda_graphs=final["cuda_graphs"],
        versions=versions(),
        hardware=hardware(),
        commit=commit(),
        notes=list(notes),
        warnings=list(warnings),
        directory=directory,
    )


def _write_files(
    experiment: Experiment,
    directory: Path,
    totals: SynthesisTotals,
    final: dict[str, Any],
    images: Any,
) -> None:
    """Write the student, if there is one, sample images and details; arguments as for `finish`."""
    student = final.get("student")
    state = None if student is None else to_tensors(student)
    if state is not None:
        save_weights(directory / "student.safetensors", state)
    shown = as_tensor(images[:_GRID_IMAGES])
    classes = predicted_classes(experiment, shown, state)
    _save_samples(experiment, shown, classes, directory / "samples.png")
    _details(experiment, classes, final.get("confusions", {}), totals.classes).save(directory)


def _save_samples(
    experiment: Experiment, images: Tensor, classes: Mapping[str, Tensor], path: Path
) -> None:
    """Write the picture of images; beside them the maps that both networks predict, if they do.

    Args:
        experiment: names the classes.
        images: (N, C, H, W) uint8.
        classes: (N, *space) that each network predicts, by its role.
        path: file to write.
    """
    if experiment.kind.spatial_axes:
        maps = {role: found.numpy() for role, found in classes.items()}
        save_maps(images.numpy(), maps, experiment.spec.class_labels, path)
    else:
        save_grid(images, path)


def _details(
    experiment: Experiment,
    classes: Mapping[str, Tensor],
    confusions: Mapping[str, Any],
    made: Mapping[int, int],
) -> RunDetails:
    """What the run's page shows beyond its result.

    Args:
        experiment: names the classes and the judge.
        classes: of the images in `samples.png`, see `_save_samples`.
        confusions: what the trainer left on the board (`Judge.confusions`), as arrays.
        made: synthetic images by the class that the teacher assigned to them.
    """
    of_images = {} if experiment.kind.spatial_axes else classes
    return RunDetails.model_validate(
        {
            "class_names": experiment.spec.class_labels,
            "shape": experiment.spec.shape,
            "made": [made.get(number, 0) for number in range(experiment.spec.num_classes)],
            "sample_classes": {role: found.tolist() for role, found in of_images.items()},
            "confusions": [
                {
                    "against": whom,
                    "judged_on": experiment.judge.judged_on,
                    "cells": [(*place, int(pairs[tuple(place)])) for place in np.argwhere(pairs)],
                }
                for whom, pairs in confusions.items()
            ],
        }
    )
