"""Networks in a user's Python file, and no real image: jobs, sweeps and workers of a cluster.

The file lies in the user's folder. Nodes run in another folder, where its path names nothing, and
`PYTHONPATH` is unset.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fastdfkd.models import save_weights
from fastdfkd.runs.result import RunResult
from fastdfkd.runs.source_texts import SOURCES_FILE
from fastdfkd.tuning.trial_log import TrialLog
from tests.cluster.nodes import BIN, Nodes
from tests.models.builders import NETWORK_FILE, open_model, write_network

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1500)]
RUN_S = 900.0
"""Seconds that a command may take on a busy machine; 60 on an idle one."""
RECIPE = {
    "name": "mine",
    "data": {"name": "none"},
    "input": {"shape": [1, 16, 16], "classes": 10, "normalisation": "half"},
    "teacher": {"model": "nets/small.py:build"},
    "student": {"model": "nets/small.py:Small", "positional": [10, 1, 4]},
    "synthesis": {
        "method": "fast",
        "steps": 1,
        "rounds": 3,
        "warmup_rounds": 1,
        "batch_size": 8,
        "latent_dim": 8,
        "generator_width": 4,
    },
    "distillation": {"updates_per_round": 2, "batch_size": 8},
    "evaluation": {"synthetic_images": 16},
    "platform": {"evaluations": 1, "start_timeout_s": 120},
}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    nodes = Nodes()
    try:
        nodes.start_head()
        nodes.start_worker(cpus=2)
        yield nodes
    finally:
        nodes.close()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user: a recipe, the file with its networks, the teacher's weights."""
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path)
    network = open_model("nets/small.py:build", 10, (1, 16, 16)).network
    save_weights(tmp_path / "teacher.safetensors", network)
    weights = {**RECIPE["teacher"], "weights": str(tmp_path / "teacher.safetensors")}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**RECIPE, "teacher": weights}))
    (tmp_path / "space.yaml").write_text("space: {synthesis.steps: {choice: [1, 2]}}")
    return tmp_path


def run(nodes: Nodes, user: Path, *words: str) -> str:
    """What a command of the user prints."""
    env = {key: value for key, value in nodes.env.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(BIN / "fastdfkd"), *words],
        env=env,
        cwd=user,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("workers", [0, 1])
def test_a_submitted_job_has_the_file(nodes: Nodes, user: Path, workers: int) -> None:
    out = nodes.folder / f"job{workers}"
    words = ["submit", "mine.yaml", f"platform.workers={workers}", "--out", str(out)]
    said = run(nodes, user, *words, "--address", nodes.address)
    assert "agreement on synthetic images" in said
    assert "accuracy" not in said
    assert json.loads((out / SOURCES_FILE).read_text()) == {"nets/small.py": NETWORK_FILE}
    assert RunResult.load(out).synthetic_agreement is not None


@pytest.mark.parametrize("workers", [0, 1])
def test_trials_of_a_sweep_have_the_file(nodes: Nodes, user: Path, workers: int) -> None:
    words = ["sweep", "mine.yaml", "space.yaml", f"platform.workers={workers}", "--search", "grid"]
    address = f"127.0.0.1:{nodes.port}"
    said = run(nodes, user, *words, "--address", address, "--out", "sweep")
    assert "agreement on synthetic images" in said
    assert "accuracy" not in said
    records = TrialLog(user / "sweep").records()
    assert [record.status for record in records] == ["finished"] * 2
    assert all("synthetic_agreement" in record.figures for record in records)
    assert TrialLog(user / "sweep").options().objective == "synthetic_agreement"
    for record in records:
        assert (Path(record.directory) / SOURCES_FILE).is_file()
