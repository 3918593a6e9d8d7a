"""A whole run for segmentation: a teacher of maps, a student without the scenes, their figures."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import fastdfkd
from fastdfkd.api.execution import obtain_teacher
from fastdfkd.cli.summaries import evaluation_summary, run_summary
from fastdfkd.comparison.records import Comparison
from fastdfkd.comparison.run_records import load_run_record
from fastdfkd.comparison.table import cells, comparison_table, named_by_figure
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.data.scene_drawing import CLASSES
from fastdfkd.data.scenes import SceneSettings
from fastdfkd.experiment import Experiment, compared_by
from fastdfkd.platform import pipeline
from fastdfkd.recipe import Recipe, RecipeError, load_recipe
from fastdfkd.report.map_samples import class_colours
from fastdfkd.runs.details import RunDetails
from fastdfkd.runs.metrics import is_evaluation, read_rows
from fastdfkd.runs.result import RunResult
from fastdfkd.tracking.store import open_store
from fastdfkd.trainers.checkpoint import CheckpointFolder
from tests.platform.conftest import Rows
from tests.short_runs import SHORT_RUN, shared_places

pytestmark = pytest.mark.cluster
TINY: dict[str, Any] = {
    **SHORT_RUN,
    "synthesis.rounds": 4,
    "distillation.warmup_updates": 1,
    "platform.checkpoint_every": 1,
    "student.model": "unet-half",
    "teacher.model": "unet-half",
}


@pytest.fixture(scope="module")
def folder(
    ray_cluster: None,
    tmp_path_factory: pytest.TempPathFactory,
    tracking_uri: str,
    teacher_cache: Path,
) -> Iterator[Path]:
    """A run `one`, and `resumed`, which continues from a checkpoint of it; few scenes."""
    folder, few = tmp_path_factory.mktemp("runs"), partial(SceneSettings, train=64, test=16)
    with shared_places(tracking_uri, teacher_cache), pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastdfkd.data.scenes.SceneSettings", few)
        fastdfkd.distill("scenes-fast5", TINY, out=folder / "one")
        checkpoints = CheckpointFolder(folder / "one")
        sorted(checkpoints.folder.glob("state-*.safetensors"))[-1].unlink()
        checkpoint = checkpoints.newest()
        assert checkpoint is not None
        assert 0 < checkpoint.updates < 6
        (folder / "resumed").mkdir()
        recipe = load_recipe(folder / "one/recipe.yaml")
        teacher = obtain_teacher(recipe)
        pipeline.run(recipe, teacher, folder / "resumed", Rows(), checkpoint=checkpoint)
        yield folder


@pytest.fixture
def recipe(folder: Path) -> Recipe:
    return load_recipe(folder / "one/recipe.yaml")


def test_the_student_is_that_of_the_reference_loop(folder: Path, recipe: Recipe) -> None:
    teacher = obtain_teacher(recipe)
    experiment = Experiment.of(recipe, copy.deepcopy(teacher.model))
    distiller = experiment.distiller()
    sections = recipe.synthesis, recipe.distillation
    reference_loop(experiment.synthesizer(), experiment.buffer(), distiller, *sections)
    ours = load_file(folder / "one/student.safetensors")
    for name, tensor in distiller.student_state().items():
        assert torch.equal(ours[name], tensor), name


def test_a_resumed_run_ends_with_exactly_the_same_student(folder: Path) -> None:
    whole, resumed = (
        load_file(folder / name / "student.safetensors") for name in ("one", "resumed")
    )
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


def test_results_have_miou_in_place_of_accuracy(folder: Path, tracking_uri: str) -> None:
    result = RunResult.load(folder / "one")
    assert result.input["task"] == "segmentation"
    assert (result.accuracy, result.teacher_accuracy, result.top5_accuracy) == (None,) * 3
    ious = [iou for iou in result.class_ious.values() if iou is not None]
    assert tuple(result.class_ious) == CLASSES
    assert result.mean_iou == pytest.approx(sum(ious) / len(ious))
    taught = json.loads((folder / "one/teacher.json").read_text())
    assert result.teacher_mean_iou == taught["mean_iou"]
    rows = [row for row in read_rows(folder / "one/metrics.csv") if is_evaluation(row)]
    assert rows[-1]["mean_iou"] == pytest.approx(result.mean_iou)
    assert {"pixel_accuracy", "agreement"} <= set(rows[-1])
    assert not {"accuracy", "top5_accuracy"} & set(rows[-1])
    run_id = json.loads((folder / "one/state.json").read_text())["mlflow_run_id"]
    metrics = open_store(tracking_uri, "fastdfkd").client.get_run(run_id).data.metrics
    assert metrics["mean_iou"] == pytest.approx(result.mean_iou)
    text = run_summary(result)
    assert f"mIoU {result.mean_iou:.1%} (teacher {result.teacher_mean_iou:.1%})" in " ".join(
        text.split()
    )
    assert "accuracy" not in text.replace("pixel accuracy", "")


def test_evaluate_shows_the_iou_of_each_class(folder: Path) -> None:
    result, found = RunResult.load(folder / "one"), fastdfkd.evaluate(folder / "one")
    assert found.figures == {"mIoU": result.mean_iou, "pixel accuracy": result.pixel_accuracy}
    assert found.teacher_figures["mIoU"] == result.teacher_mean_iou
    assert found.class_ious["student"] == result.class_ious
    lines = evaluation_summary(found).splitlines()
    heading = next(i for i, line in enumerate(lines) if line.startswith("IoU of the class"))
    assert lines[heading].split()[-2:] == ["student", "teacher"]
    for line, name in zip(lines[heading + 1 :], CLASSES, strict=True):
        values = [found.class_ious[role][name] for role in ("student", "teacher")]
        shown = ["-" if value is None else f"{value:.1%}" for value in values]
        assert line.split() == [name, *shown]


def test_samples_show_the_maps(folder: Path) -> None:
    with Image.open(folder / "one/samples.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    colours = class_colours(len(CLASSES))
    shown = [(pixels == colour).all(1).sum() for colour in colours]
    assert max(shown) > 1000, "a class of the maps fills an area"


def test_the_confusions_are_kept_in_pixels(folder: Path) -> None:
    result, details = RunResult.load(folder / "one"), RunDetails.load(folder / "one")
    assert details is not None
    assert (tuple(details.class_names), details.sample_classes) == (CLASSES, {})
    found = {each.against: each for each in details.confusions}
    shares = {whom: each.same / each.total for whom, each in found.items()}
    assert shares["teacher"] == pytest.approx(result.agreement)
    assert shares["labels"] == pytest.approx(result.pixel_accuracy)


def test_comparisons_are_by_miou(folder: Path, recipe: Recipe) -> None:
    assert compared_by(recipe) == "mean_iou"
    records = {name: [load_run_record(name, recipe, folder / "one")] for name in ("a", "b")}
    comparison = Comparison(reference="a", runs=records, target_accuracy=0.01, title="t")
    assert comparison.figure == "mean_iou"
    table = comparison_table(comparison)
    heads, _ = cells(comparison, table)
    assert {"mIoU", "pixel accuracy", "time to 1% mIoU", "speed-up at that mIoU"} <= set(heads)
    assert "accuracy" not in heads
    named = named_by_figure(table, comparison.figure)
    assert {"mean_iou", "pixel_accuracy", "seconds_to_mean_iou"} <= set(named.columns)
    assert not {"accuracy", "seconds_to_accuracy"} & set(named.columns)
    assert math.isfinite(named["mean_iou"].iloc[0])


def test_a_method_that_does_not_fit_is_refused_before_anything(tmp_path: Path) -> None:
    changes = {"data.name": "scenes", "teacher.model": "unet-half", "student.model": "unet-half"}
    with pytest.raises(RecipeError, match=r"nayer with codes: classes needs one class for each im"):
        fastdfkd.distill("digits-nayer", changes, out=tmp_path / "run")
