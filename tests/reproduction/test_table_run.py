from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fastdfkd.cli import commands
from fastdfkd.reproduction.request import interrupted_table
from fastdfkd.tracking.store import open_store
from fastdfkd.tuning.trial_log import TrialLog

ROWS = "fast5,dafl"


def test_cells_without_images_say_so_and_no_cluster_is_started(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object, **__: object) -> None:
        raise AssertionError("nothing can be run: no cluster is needed")

    monkeypatch.setattr("fastdfkd.platform.cluster.connect", connect)
    words = ["reproduce", "cifar10", "--rows", ROWS, "--pairs", "vgg11/resnet18", "--out", "out"]
    assert commands.run([*words, "--json"]) == 2
    shown = capsys.readouterr()
    cells = json.loads(shown.out)["cells"]
    assert len(cells) == 2
    assert all("data.root" in cell["missing"] for cell in cells)
    assert [cell["published_accuracy"] for cell in cells] == [81.10, 89.94]
    assert "no cell was measured" in shown.err
    weights = "teacher.weights=gone.pt"
    assert commands.run([*words[:-1], "out2", weights, "data.name=digits"]) == 2
    assert "gone.pt" in (workplace / "out2" / "table.md").read_text(encoding="utf-8")


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_table_stops_at_its_budget_and_a_resumed_one_is_completed(
    workplace: Path,
    tracking_uri: str,
    tiny: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["reproduce", "digits", *tiny, "--rows", ROWS, "--out", "out", "--budget", "0"]
    assert commands.run(words) == 2
    assert "the budget of 0 h is spent" in capsys.readouterr().out
    with interrupted_table("out") as run:
        (folder,) = run.groups
    assert not (folder / "trials.jsonl").exists()

    program = [sys.executable, "-m", "fastdfkd", "reproduce", "--resume", "out"]
    done = subprocess.run([*program, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cells = {cell["row"]: cell for cell in json.loads(done.stdout)["cells"]}
    for row in ("fast5", "dafl"):
        assert 0 < cells[row]["accuracy"] < 100
        assert cells[row]["hours"] > 0
        assert cells[row]["missing"] == ""
        assert cells[row]["teacher_accuracy"] > 10
    records = TrialLog(folder).records()
    assert [(r.point, r.seed, r.status) for r in records] == [
        ({"recipe": "digits-dafl"}, 0, "finished"),
        ({"recipe": "digits-fast5"}, 0, "finished"),
    ]
    check_mlflow(tracking_uri, folder)

    again = subprocess.run(program, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "2 of 2 trials are done already" in again.stdout
    assert TrialLog(folder).records() == records


def check_mlflow(uri: str, folder: Path) -> None:
    """The runs are children of the run of their teacher, which has the figures and the table."""
    store = open_store(uri, "fastdfkd")
    parent = store.client.get_run(TrialLog(folder).options().parent_run_id)
    assert parent.info.run_name == "reproduce digits resnet14"
    assert parent.info.status == "FINISHED"
    assert 0 < parent.data.metrics["digits-dafl.accuracy"] < 1
    kept = {file.path for file in store.client.list_artifacts(parent.info.run_id)}
    assert {"table.md", "table.csv", "results.json"} <= kept
    children = store.client.search_runs(
        [store.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    assert {child.info.run_name for child in children} == {
        "recipe=digits-dafl",
        "recipe=digits-fast5",
    }
