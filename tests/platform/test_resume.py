"""A run that is broken off goes on from its checkpoint, to exactly the same student."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fastdfkd.platform import pipeline
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import Rows, tiny

pytestmark = pytest.mark.cluster


@pytest.mark.usefixtures("ray_cluster", "one_thread")
@pytest.mark.parametrize("synthesizers", [1, 2])
def test_a_resumed_lockstep_run_ends_with_exactly_the_same_student(
    synthesizers: int, teacher: Teacher, tmp_path: Path
) -> None:
    recipe = tiny(
        platform__schedule="lockstep",
        platform__checkpoint_every=2,
        platform__synthesizers=synthesizers,
    )
    (tmp_path / "whole").mkdir()
    (tmp_path / "resumed").mkdir()
    whole = pipeline.run(recipe, teacher, tmp_path / "whole", Rows())
    folder = CheckpointFolder(tmp_path / "whole")
    manifests = sorted(folder.folder.glob("manifest-*.json"))
    assert len(manifests) == 2
    torn = folder.folder / manifests[-1].name.replace("manifest", "state").replace(
        ".json", ".safetensors"
    )
    torn.write_bytes(torn.read_bytes()[:-9])  # as a power cut leaves it: the one before is used
    checkpoint = folder.newest()
    assert checkpoint is not None
    assert 0 < checkpoint.updates < recipe.updates
    resumed = pipeline.run(recipe, teacher, tmp_path / "resumed", Rows(), checkpoint=checkpoint)
    ours = load_file(tmp_path / "resumed" / "student.safetensors")
    for name, tensor in load_file(tmp_path / "whole" / "student.safetensors").items():
        assert torch.equal(ours[name], tensor), name
    assert (resumed.images, resumed.updates) == (whole.images, whole.updates)
    assert resumed.accuracy == whole.accuracy


@pytest.mark.slow
def test_the_driver_is_killed_and_the_command_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fastdfkd.cli", "distill"]
    out = tmp_path / "run"
    overrides = [
        "synthesis.steps=2",
        "synthesis.rounds=60",
        "synthesis.warmup_rounds=2",
        "synthesis.batch_size=32",
        "synthesis.latent_dim=8",
        "synthesis.generator_width=4",
        "distillation.updates_per_round=4",
        "platform.checkpoint_every=4",
        "platform.schedule=lockstep",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    first = subprocess.Popen(
        [*command, "digits-fast5", *overrides, "--out", str(out)], cwd=tmp_path, env=environment
    )
    deadline = time.monotonic() + 240
    while not list(out.glob("checkpoints/manifest-*.json")):
        assert first.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not (out / "result.json").exists()
    subprocess.run([*command, "--resume", str(out)], cwd=tmp_path, env=environment, check=True)
    assert (out / "result.json").is_file()
    again = subprocess.run([*command, "--resume", str(out)], cwd=tmp_path, env=environment)
    assert again.returncode == 2
