from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.runs.folder_lock import FolderInUseError
from fastdfkd.tracking.store import open_store
from fastdfkd.tuning.sweep import interrupted_sweep, new_sweep, run_sweep
from fastdfkd.tuning.trial_log import TrialLog

SpaceFile = Callable[[str], Path]
MakeOptions = Callable[..., Any]

# Two learning rates that work, three that are too small, and a student without parameters.
SIX_POINTS = """
student.model: {choice: [resnet8-half, 'torch.nn:Identity']}
distillation.lr:
  choice: [0.1, 0.08, 1.0e-9, 2.0e-9, 3.0e-9]
  when: {student.model: resnet8-half}
"""


def test_a_sweep_is_validated_before_a_folder_is_made(
    workplace: Path, small: Recipe, space_file: SpaceFile, options: MakeOptions
) -> None:
    space = space_file("synthesis.rounds: {choice: [2, 9]}\nsynthesis.warmup_rounds: {choice: [5]}")
    with pytest.raises(ValueError, match="warmup_rounds"):
        new_sweep(small, space, (), options(), None).__enter__()
    valid = space_file("synthesis.steps: {choice: [2, 5]}")
    for changes, words in (
        ({"scheduler": "asha", "objective": "accuracy,synthesis_seconds"}, "one --objective"),
        ({"seeds": 0}, "--seeds"),
        ({"trials": 0}, "--trials"),
    ):
        with pytest.raises(ValueError, match=words):
            new_sweep(small, valid, (), options(**changes), None).__enter__()
    asha = options(scheduler="asha")
    with pytest.raises(ValueError, match="evaluations"):
        new_sweep(small, valid, {"platform.evaluations": 1}, asha, None).__enter__()
    assert not (workplace / "runs").exists()


def test_random_points_are_distinct_and_depend_on_the_seed_only(
    workplace: Path, small: Recipe, space_file: SpaceFile, options: MakeOptions
) -> None:
    space = space_file("synthesis.steps: {choice: [1, 2, 3]}\nsynthesis.meta: {choice: [none]}")
    with (
        new_sweep(small, space, (), options(search="random", trials=8, seeds=2), "a") as sweep,
        pytest.raises(FolderInUseError, match=f"process {os.getpid()} on "),
    ):
        interrupted_sweep("a").__enter__()
    assert sweep.points is not None
    assert sorted(p["synthesis.steps"] for p in sweep.points) == [1, 2, 3]
    assert sweep.trials == 6, "the space has three points, each with two seeds"
    assert sweep.seeds == [0, 1]
    with interrupted_sweep("a") as again:
        assert again.points == sweep.points


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_asha_stops_bad_trials_one_fails_and_all_resources_are_freed(
    workplace: Path,
    tracking_uri: str,
    ray_cluster: None,
    small: Recipe,
    space_file: SpaceFile,
    options: MakeOptions,
) -> None:
    with new_sweep(small, space_file(SIX_POINTS), (), options(scheduler="asha"), "out") as sweep:
        folder = run_sweep(sweep)
    check_cluster_is_free()
    records = TrialLog(folder).records()
    assert len(records) == 6
    by_status = {
        status: [r.index for r in records if r.status == status]
        for status in ("finished", "stopped")
    }
    assert set(by_status["finished"]) & {0, 1}
    assert len(set(by_status["stopped"]) & {2, 3, 4}) >= 2
    assert [(r.index, "Error" in r.error) for r in records if r.status == "failed"] == [(5, True)]
    assert all(r.evaluations < 4 for r in records if r.status == "stopped")
    best = load_recipe(folder / "best.yaml")
    assert best.distillation.lr in (0.1, 0.08)
    assert best.synthesis == small.synthesis
    for name in ("trials.csv", "trials.parquet", "points.csv", "table.md"):
        assert (folder / name).stat().st_size > 100
    for name in ("parallel_coordinates.png", "slices.png"):
        assert (folder / name).stat().st_size > 5_000
    check_mlflow(tracking_uri, folder, len(by_status["stopped"]))


def check_cluster_is_free(seconds: float = 10.0) -> None:
    """The trials have freed their cores and placement groups, within seconds."""
    import ray

    deadline = time.monotonic() + seconds
    while True:
        free = ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]
        states = {group["state"] for group in ray.util.placement_group_table().values()}
        if free and states <= {"REMOVED"}:
            return
        assert time.monotonic() < deadline, (ray.available_resources(), states)
        time.sleep(0.2)


def check_mlflow(uri: str, folder: Path, stopped: int) -> None:
    """The trials are children of the sweep's run, which has the best figures and the files."""
    store = open_store(uri, "fastdfkd")
    parent = store.client.get_run(TrialLog(folder).options().parent_run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best.accuracy"] > 0
    kept = {file.path for file in store.client.list_artifacts(parent.info.run_id)}
    assert {"best.yaml", "trials.csv", "trials.parquet", "slices.png"} <= kept
    children = store.client.search_runs(
        [store.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    assert {child.info.run_name for child in children} == {
        "model=torch.nn:Identity",
        *(f"model=resnet8-half lr={lr}" for lr in ("0.1", "0.08", "1e-09", "2e-09", "3e-09")),
    }
    statuses = [child.info.status for child in children]
    assert len(statuses) == 6
    assert (statuses.count("KILLED"), statuses.count("FAILED")) == (stopped, 1)
    not_failed = [child for child in children if child.info.status != "FAILED"]
    assert all("accuracy" in child.data.metrics for child in not_failed)


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_several_seeds_give_a_mean_and_a_deviation(
    workplace: Path,
    ray_cluster: None,
    small: Recipe,
    space_file: SpaceFile,
    options: MakeOptions,
) -> None:
    space = space_file("synthesis.steps: {choice: [2]}")
    with new_sweep(small, space, (), options(seeds=2), "out") as sweep:
        folder = run_sweep(sweep)
    accuracies = [record.figures["accuracy"] for record in TrialLog(folder).records()]
    table = (folder / "points.csv").read_text().splitlines()
    row = dict(zip(table[0].split(","), table[1].split(","), strict=True))
    assert row["seeds"] == "2"
    assert float(row["accuracy"]) == pytest.approx(sum(accuracies) / 2)
    assert float(row["accuracy std"]) > 0, "seeds differ in everything random"


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_optuna_finds_a_front_and_resumes_from_a_trial_log(
    workplace: Path,
    ray_cluster: None,
    quick: Recipe,
    space_file: SpaceFile,
    options: MakeOptions,
) -> None:
    space = space_file(
        "synthesis.meta: {choice: [fomaml, none]}\n"
        "synthesis.meta_lr: {loguniform: [1.0e-3, 0.1], when: {synthesis.meta: fomaml}}"
    )
    two_objectives = options(search="optuna", objective="accuracy,synthesis_seconds", trials=3)
    with new_sweep(quick, space, (), two_objectives, "out") as sweep:
        folder = run_sweep(sweep)
    trial_log = TrialLog(folder)
    first = trial_log.records()
    assert len(first) == 3
    assert (folder / "best.yaml").is_file()
    assert list(folder.glob("pareto-*.yaml")), "a front of a single point has a file too"
    assert (folder / "pareto.png").stat().st_size > 5_000
    lines = (folder / "trials.jsonl").read_text().splitlines(keepends=True)
    (folder / "trials.jsonl").write_text(lines[0] + lines[2])
    with interrupted_sweep(folder) as sweep:
        run_sweep(sweep)
    second = trial_log.records()
    assert sorted(record.index for record in second) == [0, 1, 2]
    assert [second[0], second[1]] == [first[0], first[2]], "trials that had ended do not run again"


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_killed_sweep_resumes_and_repeats_no_finished_trial(
    workplace: Path, quick: Recipe, space_file: SpaceFile
) -> None:
    (workplace / "quick.yaml").write_text(quick.to_yaml())
    space = space_file("synthesis.steps: {choice: [1, 2, 3]}")
    trial_log = workplace / "out" / "trials.jsonl"
    words = ["sweep", "quick.yaml", str(space), "--search", "grid", "--out", "out"]
    driver = subprocess.Popen(command(*words), start_new_session=True)
    wait_for(lambda: trial_log.is_file() and trial_log.read_text().count("\n") >= 1, 240)
    wait_for(lambda: (workplace / "out/trials/001-steps=2/metrics.csv").is_file(), 120)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = trial_log.read_text()
    ended = [json.loads(line) for line in before.splitlines()]
    assert 1 <= len(ended) < 3
    kept = {
        row["directory"]: (Path(row["directory"]) / "result.json").stat().st_mtime_ns
        for row in ended
    }
    done = subprocess.run(command("sweep", "--resume", "out"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(ended)} of 3 trials are done already" in done.stdout
    assert trial_log.read_text().startswith(before)
    names = [
        (row["index"], row["seed"]) for row in map(json.loads, trial_log.read_text().splitlines())
    ]
    assert sorted(names) == [(0, 0), (1, 0), (2, 0)], "each once"
    for directory, when in kept.items():
        assert (Path(directory) / "result.json").stat().st_mtime_ns == when


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from fastdfkd.cli import main; main()", *words]


def wait_for(ready: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"nothing after {seconds:g} s"
        time.sleep(0.1)
