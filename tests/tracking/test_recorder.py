from __future__ import annotations

import csv
import json
import logging
import math
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fastdfkd.recipe import Recipe
from fastdfkd.runs.metrics import COLUMNS, RowFile, read_rows
from fastdfkd.runs.result import RunResult
from fastdfkd.tracking import ParentRun, Recorder
from fastdfkd.tracking.store import open_store

Make = Callable[..., Recipe]
MakeResult = Callable[..., RunResult]


def client(uri: str):
    return open_store(uri, "fastdfkd").client


def test_a_finished_run_is_recorded_completely(
    workplace: Path, tracking_uri: str, tiny_recipe: Make, make_result: MakeResult
) -> None:
    recipe = tiny_recipe(seed=7)
    rows = []
    (workplace / "recipe.yaml").write_text(recipe.to_yaml())
    (workplace / "student.safetensors").write_bytes(b"weights")
    with Recorder(recipe, workplace, run_name="first", progress=rows.append) as recorder:
        recorder.log({"updates": 5, "loss": 1.5, "lr": 0.1})
        recorder.log({"updates": 10, "loss": 0.5, "accuracy": 0.75})
        recorder.finish(make_result(updates=10, accuracy=0.75, synthesis_speedup=12.0))
    store = client(tracking_uri)
    run = store.get_run(recorder.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.data.params == {key: str(value) for key, value in recipe.flat().items()}
    assert run.data.tags["recipe_digest"] == recipe.digest()
    assert {"commit", "hardware", "version.torch", "directory"} <= set(run.data.tags)
    history = store.get_metric_history(recorder.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(5, 1.5), (10, 0.5)]
    assert run.data.metrics["synthesis_speedup"] == 12.0
    assert run.data.metrics["end_to_end_seconds"] == 8.0
    artifacts = {item.path for item in store.list_artifacts(recorder.run_id)}
    assert artifacts == {"recipe.yaml", "metrics.csv"}
    assert rows == [
        {"updates": 5, "loss": 1.5, "lr": 0.1},
        {"updates": 10, "loss": 0.5, "accuracy": 0.75},
    ]
    assert read_rows(workplace / "metrics.csv") == rows


@pytest.mark.parametrize(
    "damage",
    [b"\0" * 700, b"\xff\xfe\n", b"7,8,abc\n", b"1," * 40 + b"1\n", b"15,2"],
    ids=["zeros", "bytes", "words", "cells", "half"],
)
def test_damaged_rows_are_skipped(workplace: Path, damage: bytes) -> None:
    path = workplace / "metrics.csv"
    with RowFile(path) as file:
        file.append({"updates": 5, "loss": 1.5})
    with path.open("ab") as end:
        end.write(damage)
    assert read_rows(path) == [{"updates": 5, "loss": 1.5}]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("boom"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(143), "KILLED"),
    ],
)
def test_a_run_that_raises_does_not_stay_running(
    workplace: Path, tracking_uri: str, tiny_recipe: Make, error: BaseException, status: str
) -> None:
    def fail(row: object) -> None:
        raise error

    recorder = Recorder(tiny_recipe(), workplace, progress=fail)
    with pytest.raises(type(error)), recorder:
        recorder.log({"updates": 1, "loss": 2.0})
    run = client(tracking_uri).get_run(recorder.run_id)
    assert run.info.status == status
    assert run.data.metrics["loss"] == 2.0
    assert read_rows(workplace / "metrics.csv") == [{"updates": 1, "loss": 2.0}]


def test_a_run_without_a_result_has_failed(
    workplace: Path, tracking_uri: str, tiny_recipe: Make
) -> None:
    with Recorder(tiny_recipe(), workplace) as recorder:
        pass
    assert client(tracking_uri).get_run(recorder.run_id).info.status == "FAILED"


def test_a_folder_that_cannot_be_written_fails_the_run(
    workplace: Path, tracking_uri: str, tiny_recipe: Make
) -> None:
    recorder = Recorder(tiny_recipe(), workplace / "absent")
    with pytest.raises(FileNotFoundError), recorder:
        pass
    assert client(tracking_uri).get_run(recorder.run_id).info.status == "FAILED"


def test_a_permanent_failure_of_mlflow_logs_two_warnings(
    workplace: Path,
    tiny_recipe: Make,
    make_result: MakeResult,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("the server has gone")

    with caplog.at_level(logging.WARNING), Recorder(tiny_recipe(), workplace) as recorder:
        store = recorder._run.store.client
        for name in ("log_batch", "log_artifact", "set_terminated"):
            monkeypatch.setattr(store, name, refuse)
        recorder.log({"updates": 1, "loss": 2.0})
        recorder.finish(make_result())
    assert [record.getMessage().split()[0] for record in caplog.records] == ["MLflow", "rows"]
    assert "the server has gone" in caplog.text
    assert "only in metrics.csv, not in MLflow: 1" in caplog.text
    assert read_rows(workplace / "metrics.csv") == [{"updates": 1, "loss": 2.0}]


def test_training_does_not_wait_for_a_slow_store(
    workplace: Path, tracking_uri: str, tiny_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, in_time = threading.Event(), []
    with Recorder(tiny_recipe(), workplace) as recorder:
        store = recorder._run.store.client
        write = store.log_batch

        def slowly(*entries: object) -> object:
            in_time.append(released.wait(60))
            return write(*entries)

        monkeypatch.setattr(store, "log_batch", slowly)
        for step in range(300):
            recorder.log({"updates": step, "loss": 1.0})
        released.set()
    assert all(in_time), "all rows were logged while the store was writing the first one"
    history = client(tracking_uri).get_metric_history(recorder.run_id, "loss")
    assert [point.step for point in history] == list(range(300))


def test_rows_that_the_store_refused_are_sent_again(
    workplace: Path,
    tracking_uri: str,
    tiny_recipe: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = threading.Event()

    def refuse(*_: object, **__: object) -> None:
        refused.set()
        raise ConnectionError("the server has gone")

    with caplog.at_level(logging.WARNING), Recorder(tiny_recipe(), workplace) as recorder:
        with monkeypatch.context() as failing:
            failing.setattr(recorder._run.store.client, "log_batch", refuse)
            for step in range(100):
                recorder.log({"updates": step, "loss": 1.0})
            assert refused.wait(60)
        recorder.log({"updates": 100, "loss": 1.0})
    history = client(tracking_uri).get_metric_history(recorder.run_id, "loss")
    assert [point.step for point in history] == list(range(101))
    assert [point.timestamp for point in history] == sorted(point.timestamp for point in history)
    assert [record.getMessage().split()[-1] for record in caplog.records] == ["gone", "back"]


def test_a_full_disk_does_not_stop_the_training(
    workplace: Path, tracking_uri: str, tiny_recipe: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), Recorder(tiny_recipe(), workplace) as recorder:
        recorder._rows.close()
        recorder._rows._file = Path("/dev/full").open("w")  # noqa: SIM115
        recorder._rows._writer = csv.DictWriter(recorder._rows._file, COLUMNS)
        for step in range(3):
            recorder.log({"updates": step, "loss": 1.0})
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "No space left on device" in messages[0]
    assert "last rows of metrics.csv are lost" in messages[1]
    history = client(tracking_uri).get_metric_history(recorder.run_id, "loss")
    assert [point.step for point in history] == [0, 1, 2]


def test_a_row_without_updates_has_the_step_of_the_row_before(
    workplace: Path, tracking_uri: str, tiny_recipe: Make
) -> None:
    with Recorder(tiny_recipe(), workplace) as recorder:
        for row in ({"images": 1}, {"updates": 5}, {"images": 2}, {"updates": 9, "images": 3}):
            recorder.log(row)
    history = client(tracking_uri).get_metric_history(recorder.run_id, "images")
    assert [(point.step, point.value) for point in history] == [(0, 1), (5, 2), (9, 3)]


def test_numbers_that_are_not_finite_are_only_in_the_file(
    workplace: Path, tracking_uri: str, tiny_recipe: Make
) -> None:
    with Recorder(tiny_recipe(), workplace) as recorder:
        recorder.log({"updates": 1, "loss": math.inf, "lr": 0.1})
    assert read_rows(workplace / "metrics.csv")[0]["loss"] == math.inf
    assert set(client(tracking_uri).get_run(recorder.run_id).data.metrics) == {"updates", "lr"}


def test_an_unknown_column_is_refused(tmp_path: Path) -> None:
    with RowFile(tmp_path / "metrics.csv") as file:
        file.append({"loss": 1.0})
        with pytest.raises(ValueError, match=r"\['losss'\]"):
            file.append({"losss": 1.0})
    header, line = (tmp_path / "metrics.csv").read_text().splitlines()
    assert tuple(header.split(",")) == COLUMNS
    assert line == ",,,,1.0" + "," * (len(COLUMNS) - 5)


def test_child_runs_have_the_tag_of_their_parent(
    workplace: Path, tracking_uri: str, tiny_recipe: Make, make_result: MakeResult
) -> None:
    table = workplace / "table.md"
    table.write_text("| a |")
    with ParentRun("sweep") as parent:
        with Recorder(tiny_recipe(), workplace, parent_run_id=parent.run_id) as child:
            child.finish(make_result())
        parent.log(metrics={"best": 0.9}, tags={"kind": "test"}, artifacts=[table])
    store = client(tracking_uri)
    assert store.get_run(child.run_id).data.tags["mlflow.parentRunId"] == parent.run_id
    run = store.get_run(parent.run_id)
    assert (run.info.status, run.data.metrics["best"]) == ("FINISHED", 0.9)
    assert run.data.tags["kind"] == "test"
    assert [item.path for item in store.list_artifacts(parent.run_id)] == ["table.md"]


def test_an_interrupted_parent_is_killed(workplace: Path, tracking_uri: str) -> None:
    parent = ParentRun("sweep")
    with pytest.raises(KeyboardInterrupt), parent:
        raise KeyboardInterrupt
    assert client(tracking_uri).get_run(parent.run_id).info.status == "KILLED"


def test_warnings_are_a_tag_and_in_the_state_file(
    workplace: Path, tracking_uri: str, tiny_recipe: Make, make_result: MakeResult
) -> None:
    with Recorder(tiny_recipe(), workplace) as recorder:
        recorder.warn("collapse, first")
        assert json.loads((workplace / "state.json").read_text())["warnings"] == ["collapse, first"]
        recorder.warn("collapse, second")
        recorder.note("ResNet runs without cuda_graphs (a value)")
        recorder.finish(make_result(warnings=recorder.warnings))
    state = json.loads((workplace / "state.json").read_text())
    assert state["state"] == "finished"
    assert state["warnings"] == ["collapse, first", "collapse, second"]
    assert state["notes"] == ["ResNet runs without cuda_graphs (a value)"]
    run = client(tracking_uri).get_run(recorder.run_id)
    assert run.data.tags["warnings"] == "collapse, first\ncollapse, second"
