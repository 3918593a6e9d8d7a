"""An interrupted run resumes from its checkpoint and ends with exactly the same student."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

import fastdfkd
from fastdfkd.platform import pipeline
from fastdfkd.recipe import Recipe
from fastdfkd.runs.metrics import read_rows
from fastdfkd.runs.result import RunResult
from fastdfkd.tracking.store import open_store
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import Rows, tiny, tiny_cmi, tiny_nayer

pytestmark = pytest.mark.cluster
ROOT = Path(fastdfkd.__file__).parents[1]


@pytest.mark.usefixtures("ray_cluster", "one_thread")
@pytest.mark.parametrize(
    ("build", "changes"),
    [
        (tiny, {"platform__checkpoint_every": 2}),
        pytest.param(
            tiny,
            {"platform__checkpoint_every": 2, "platform__synthesizers": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            tiny,
            {
                "platform__checkpoint_every": 2,
                "distillation__stage_maps": 1.0,
                "distillation__teacher_cache": 2,
            },
            marks=pytest.mark.slow,
        ),
        pytest.param(
            tiny_nayer,
            {"platform__checkpoint_every": 2, "platform__synthesizers": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            tiny_cmi,
            {"platform__checkpoint_every": 2, "platform__synthesizers": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            tiny, {"platform__checkpoint_every": 2, "synthesis__rounds": 5}, marks=pytest.mark.slow
        ),
        pytest.param(
            tiny,
            {"platform__checkpoint_every": 3, "platform__publish_every": 5},
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_resumed_lockstep_run_ends_with_exactly_the_same_student(
    build: Callable[..., Recipe], changes: dict[str, int], teacher: Teacher, tmp_path: Path
) -> None:
    """From the first checkpoint; where there are two, the second is damaged."""
    recipe = build(platform__schedule="lockstep", **changes)
    (tmp_path / "whole").mkdir()
    (tmp_path / "resumed").mkdir()
    whole = pipeline.run(recipe, teacher, tmp_path / "whole", Rows())
    folder = CheckpointFolder(tmp_path / "whole")
    states = sorted(folder.folder.glob("state-*.safetensors"))
    assert len(states) == (1 if recipe.synthesis.rounds == 5 else 2)
    for damaged in states[1:]:  # truncated, as after a power cut: the one before is used
        damaged.write_bytes(damaged.read_bytes()[:-9])
    checkpoint = folder.newest()
    assert checkpoint is not None
    assert 0 < checkpoint.updates < recipe.updates
    assert checkpoint.state["trainer"]["precision"] == whole.precision
    checkpoint.state["trainer"]["precision"] = "another type"  # of another kind of machine
    again = Rows()
    resumed = pipeline.run(recipe, teacher, tmp_path / "resumed", again, checkpoint=checkpoint)
    assert "trained in another type before the run was resumed, and is now" in resumed.notes[-1]
    assert again.notes == resumed.notes
    assert whole.notes == []
    assert resumed.cuda_graphs == "off"
    ours = load_file(tmp_path / "resumed" / "student.safetensors")
    for name, tensor in load_file(tmp_path / "whole" / "student.safetensors").items():
        assert torch.equal(ours[name], tensor), name
    assert (resumed.images, resumed.updates) == (whole.images, whole.updates)
    assert resumed.accuracy == whole.accuracy


COMMAND = [str(Path(sys.executable).parent / "fastdfkd"), "distill"]
LONG = [
    "synthesis.steps=2",
    "synthesis.rounds=150",
    "synthesis.warmup_rounds=2",
    "synthesis.batch_size=16",
    "synthesis.latent_dim=8",
    "synthesis.generator_width=4",
    "distillation.updates_per_round=2",
    "distillation.batch_size=16",
    "platform.checkpoint_every=4",
    "platform.evaluations=2",
    "teacher.epochs=1",
]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_survives_ctrl_c_sigterm_and_sigkill(
    workplace: Path, tracking_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out, temporary = workplace / "run", tmp_path_factory.mktemp("r")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(temporary)}

    def begin(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *words],
            cwd=workplace,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    first = begin("digits-fast5", *LONG, "--out", str(out))
    wait_for_checkpoint(out, first, 0)
    reached = stop(first, signal.SIGINT, 130, out, tracking_uri)

    second = begin("--resume", str(out))
    wait_for_checkpoint(out, second, reached)
    reached = stop(second, signal.SIGTERM, 143, out, tracking_uri)

    recipe = (out / "recipe.yaml").read_text()
    (out / "recipe.yaml").write_text(recipe.replace("rounds: 150", "rounds: 140"))
    refused = begin("--resume", str(out))
    assert "synthesis.rounds was 150 and is 140" in refused.communicate(timeout=100)[1]
    assert refused.returncode == 2
    (out / "recipe.yaml").write_text(recipe)

    third = begin("--resume", str(out))
    wait_for_checkpoint(out, third, reached)
    children = psutil.Process(third.pid).children(recursive=True)
    third.kill()
    third.communicate()
    for process in psutil.wait_procs(children, timeout=30)[1]:  # Ray's processes end by themselves
        process.kill()
    assert not (out / "result.json").exists()
    with (out / "metrics.csv").open("ab") as file:  # as after a power cut
        file.write(b"\0" * 700)

    fourth = begin("--resume", str(out))
    stderr = fourth.communicate(timeout=400)[1]
    assert fourth.returncode == 0, stderr
    result = RunResult.load(out)
    assert (result.images, result.updates) == (150 * 16, 148 * 2)
    rows = read_rows(out / "metrics.csv")
    assert [row["updates"] for row in rows if "updates" in row] == list(range(2, 297, 2))
    again = begin("--resume", str(out))
    assert "there is nothing to resume" in again.communicate(timeout=100)[1]
    assert again.returncode == 2


def stop(process: subprocess.Popen[str], by: signal.Signals, code: int, out: Path, uri: str) -> int:
    """Stop a run by a signal; return the student updates of its last checkpoint."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(by)
    stderr = process.communicate(timeout=200)[1]
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    assert psutil.wait_procs(children, timeout=60)[1] == [], "Ray and all actors are gone"
    assert not list(out.rglob("*.tmp"))
    state = json.loads((out / "state.json").read_text())
    assert state["state"] == "stopped"
    run = open_store(uri, "fastdfkd").client.get_run(state["mlflow_run_id"])
    assert run.info.status == "KILLED"
    checkpoint = CheckpointFolder(out).newest()
    assert checkpoint is not None
    return checkpoint.updates


def wait_for_checkpoint(out: Path, process: subprocess.Popen[str], after: int) -> None:
    """Wait until there is a checkpoint of more than `after` updates."""
    deadline = time.monotonic() + 240
    name = f"manifest-{after:07d}.json"
    while not any(path.name > name for path in out.glob("checkpoints/manifest-*.json")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.05)


def test_an_untrusted_checkpoint_executes_nothing(tmp_path: Path) -> None:
    """A pickle in place of the state, with a matching digest, only counts as damaged."""
    folder = CheckpointFolder(tmp_path)
    folder.save(4, {"updates": 4}, {}, [])
    marker = tmp_path / "executed"
    content = pickle.dumps(Trap(marker))
    (folder.folder / "state-0000004.safetensors").write_bytes(content)
    manifest = folder.folder / "manifest-0000004.json"
    values = json.loads(manifest.read_text())
    values["digest"] = hashlib.sha256(content).hexdigest()
    manifest.write_text(json.dumps(values))
    assert folder.newest() is None
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists(), "the trap would have worked"


def test_a_checkpoint_of_another_format_is_a_clear_error(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(4, {"updates": 4}, {}, [])
    manifest = folder.folder / "manifest-0000004.json"
    values = json.loads(manifest.read_text())
    del values["format"]  # as the first version wrote it
    manifest.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="has format 1, but this version reads format 3"):
        folder.newest()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def test_images_that_are_evicted_leave_the_checkpoints(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for number in range(1, 6):
        new = {number: torch.zeros(2, 1, 4, 4, dtype=torch.uint8)}
        folder.save(number, {"updates": number}, new, [number - 1, number])
    names = sorted(path.name for path in folder.folder.glob("images-*"))
    assert names == [f"images-{number:07d}.safetensors" for number in (3, 4, 5)]
    newest = CheckpointFolder(tmp_path).newest()
    assert newest is not None
    assert sorted(newest.images()) == [4, 5]
