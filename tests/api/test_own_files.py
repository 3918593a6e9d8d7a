"""Networks in a Python file of the user's, which the run's processes and folders do not have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import fastdfkd
from fastdfkd.runs.source_texts import SOURCES_FILE
from tests.models.builders import NETWORK_FILE, write_network
from tests.short_runs import SHORT_RUN

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]
SETTINGS = {
    **SHORT_RUN,
    "platform.evaluations": 1,
    "platform.checkpoint_every": 1,
    "teacher.model": "nets/small.py:build",
    "student.model": "nets/small.py:Small",
    "student.positional": [10, 1],
    "student.arguments": {"width": 4},
}


def back_to_the_newest_checkpoint(folder: Path) -> None:
    (folder / "result.json").unlink()
    (folder / "student.safetensors").unlink()
    assert list((folder / "checkpoints").glob("manifest-*.json"))


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_file_reaches_all_roles_and_a_run_goes_on_without_it(
    workplace: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_network(workplace)
    settings = {**SETTINGS, "platform.workers": workers}
    result = fastdfkd.distill("digits-fast5", settings, out="run")
    folder = workplace / "run"
    assert json.loads((folder / SOURCES_FILE).read_text()) == {"nets/small.py": NETWORK_FILE}
    path.write_text(NETWORK_FILE.replace("F.relu", "F.gelu"))  # edited: the run is as it began
    student = load_file(folder / "student.safetensors")
    assert student["conv.weight"].shape[0] == 4
    back_to_the_newest_checkpoint(folder)
    caplog.clear()
    again = fastdfkd.resume(folder)
    said = [record.getMessage() for record in caplog.records if "has changed" in record.message]
    assert len(said) == 1
    assert said[0].startswith("nets/small.py has changed since the run in ")
    assert again.recipe_digest == result.recipe_digest
    assert again.accuracy == result.accuracy
    resumed = load_file(folder / "student.safetensors")
    assert all(torch.equal(resumed[name], value) for name, value in student.items())
    path.unlink()
    assert fastdfkd.evaluate(folder).accuracy == pytest.approx(result.accuracy)
