"""Runs whose bank is in host memory or on disk, on real Ray."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastdfkd.platform import pipeline, segment_writer
from fastdfkd.platform.history import History
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.filed_images import FiledImages
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import Rows, tiny
from tests.platform.students import check_same, reference_student

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster", "one_thread")]


def another_run(folder: Path) -> Path:
    """A run with 32 images, from which a bank starts."""
    draws = torch.Generator().manual_seed(0)
    images = {
        n: torch.randint(256, (16, 1, 16, 16), dtype=torch.uint8, generator=draws) for n in (0, 1)
    }
    CheckpointFolder(folder).save(9, {"totals": {"records": []}}, images, [0, 1])
    return folder


@pytest.mark.parametrize(
    ("location", "workers"),
    [
        ("disk", 0),
        pytest.param("host", 0, marks=pytest.mark.slow),
        pytest.param("auto", 0, marks=pytest.mark.slow),
        pytest.param("disk", 1, marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
    ],
)
def test_lockstep_equals_the_reference_and_goes_on_from_a_checkpoint(
    location: str,
    workers: int,
    teacher: Teacher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The ring of 48 images wraps round; the 32 at the start stay in the other run's files."""
    histories: list[History] = []
    evict = History.evict

    def watched(self: History, rounds: int) -> None:
        evict(self, rounds)
        histories[:] = [self]

    monkeypatch.setattr(History, "evict", watched)
    if location == "host":  # its image segments are written by tasks
        monkeypatch.setattr(segment_writer, "WORTH_A_PROCESS", 0)
    recipe = tiny(
        platform__schedule="lockstep",
        platform__checkpoint_every=3,
        platform__workers=workers,
        synthesis__warmup_rounds=0,
        bank__capacity=48,
        bank__start_from=str(another_run(tmp_path / "other")),
        bank__location=location,
        bank__scratch=str(tmp_path),
    )
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    recorder = Rows()
    result = pipeline.run(recipe, teacher, tmp_path / "whole", recorder)

    expected = reference_student(recipe, teacher)
    check_same(tmp_path / "whole", expected)
    place = "device" if location == "auto" else location
    assert recorder.notes[0].startswith(f"bank.location: {place}")
    assert recorder.notes[0] in result.notes
    filed = [round for round, each in histories[0].insertions if isinstance(each, FiledImages)]
    assert filed, "rounds of the checkpoint left the object store"

    checkpoint = CheckpointFolder(tmp_path / "whole").newest()
    assert checkpoint is not None
    pipeline.run(recipe, teacher, tmp_path / "resumed", Rows(), checkpoint=checkpoint)
    check_same(tmp_path / "resumed", expected)
