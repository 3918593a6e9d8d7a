"""Segments that Ray tasks write: their bytes, retries, and what is left on the disk."""

from __future__ import annotations

import os
import pickle
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
from ray.exceptions import ObjectLostError, WorkerCrashedError

from fastdfkd.platform import segment_writer
from fastdfkd.platform.segment_writer import TRIES, ImagesLostError, SegmentWriter, _Written
from fastdfkd.trainers.checkpoint import CheckpointFolder
from fastdfkd.trainers.state_file import save_state

SHAPE = (4, 3, 8, 8)


def rounds_of(count: int) -> dict[int, np.ndarray]:
    draws = np.random.default_rng(0)
    return {n: draws.integers(256, size=SHAPE, dtype=np.uint8) for n in range(count)}


@pytest.fixture
def always_by_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_writer, "WORTH_A_PROCESS", 0)


def fake(monkeypatch: pytest.MonkeyPatch, elsewhere: list[str], *answers: Any) -> list[str]:
    """Replace the tasks by answers in turn; returns the nodes that were asked."""
    asked, coming = list[str](), list(answers)

    def written(self: SegmentWriter, node: str, draft: Path, images: Any) -> Any:
        asked.append(node)
        answer = coming.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            draft.write_bytes(bytes(answer.bytes))
        return answer

    monkeypatch.setattr(SegmentWriter, "_written", written)
    monkeypatch.setattr(SegmentWriter, "_elsewhere", lambda self, images: elsewhere)
    return asked


def draft_in(folder: Path) -> Path:
    (folder / "draft").touch()
    return folder / "draft"


@pytest.mark.usefixtures("always_by_task")
def test_a_writer_that_dies_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = fake(monkeypatch, ["far"], WorkerCrashedError(), WorkerCrashedError(), _Written("d", 3))
    assert SegmentWriter("here", 1)(draft_in(tmp_path), {0: None}) == "d"
    assert asked == ["far", "here", "here"]


@pytest.mark.usefixtures("always_by_task")
def test_writers_that_always_die_are_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = fake(monkeypatch, [], *[WorkerCrashedError()] * TRIES)
    with pytest.raises(OSError, match=f"the process that writes the images died, {TRIES} times"):
        SegmentWriter("here", 1)(draft_in(tmp_path), {0: None})
    assert asked == ["here"] * TRIES


@pytest.mark.usefixtures("always_by_task")
def test_a_node_without_the_folder_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = fake(monkeypatch, ["far"], None, _Written("d", 3), _Written("e", 3))
    writer = SegmentWriter("here", 1)
    assert writer(draft_in(tmp_path), {0: None}) == "d"
    assert writer(draft_in(tmp_path), {0: None}) == "e"
    assert asked == ["far", "here", "here"]


@pytest.mark.usefixtures("always_by_task")
def test_a_full_disk_here_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(28, "No space left on device")
    asked = fake(monkeypatch, ["far"], full, full)
    with pytest.raises(OSError, match="No space left on device"):
        SegmentWriter("here", 1)(draft_in(tmp_path), {0: None})
    assert asked == ["far", "here"]


def test_lost_rounds_are_named_and_leave_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behind(reference: Any) -> np.ndarray:
        if reference in (1, 3):
            raise ObjectLostError("0" * 56, None, "")
        return np.zeros(SHAPE, np.uint8)

    monkeypatch.setattr(segment_writer, "images_behind", behind)
    folder, writer = CheckpointFolder(tmp_path), SegmentWriter("here", 1)
    with pytest.raises(ImagesLostError, match=r"rounds \[1, 3\]") as lost:
        folder.save(1, {}, {n: n for n in range(5)}, [0], writer)
    assert lost.value.rounds == [1, 3]
    assert str(pickle.loads(pickle.dumps(lost.value))) == str(lost.value), "as a task sends it"
    assert list(folder.folder.iterdir()) == []
    folder.save(1, {}, {n: n for n in (0, 2, 4)}, [0], writer)
    newest = CheckpointFolder(tmp_path).newest()
    assert newest is not None
    assert sorted(newest.images()) == [0, 2, 4]


def test_drafts_of_killed_writers_are_deleted_at_the_next_checkpoint(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.folder.mkdir()
    draft = folder.folder / ".images-0000003.safetensors.0a.tmp"
    draft.write_bytes(b"half")
    assert folder.newest() is None
    folder.save(4, {}, {}, [])
    assert not draft.exists()


@ray.remote(num_cpus=0)
def slow(images: np.ndarray) -> np.ndarray:
    time.sleep(10)
    return images


@pytest.mark.cluster
@pytest.mark.slow  # starts processes
@pytest.mark.usefixtures("ray_cluster", "always_by_task")
def test_a_task_writes_what_the_library_would_and_survives_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = rounds_of(13)
    references = {n: ray.put(each) for n, each in images.items()}
    references[0] = slow.remote(images[0])  # long enough for the kill
    writer = SegmentWriter(ray.get_runtime_context().get_node_id(), 10**9)
    wait, kills = ray.wait, list[int]()

    def killing(*args: Any, **options: Any) -> Any:
        """Kill the first writer while it waits for its first round."""
        for child in psutil.Process().children(recursive=True):
            if not kills and "_write_there" in " ".join(child.cmdline()):
                os.kill(child.pid, signal.SIGKILL)
                kills.append(child.pid)
        return wait(*args, **{**options, "timeout": 0.02})

    monkeypatch.setattr(segment_writer.ray, "wait", killing)
    folder = CheckpointFolder(tmp_path)
    folder.save(5, {}, references, list(images), writer)
    save_state(tmp_path / "whole", {"rounds": list(images), "images": list(images.values())})
    written = folder.folder / "images-0000005.safetensors"
    assert written.read_bytes() == (tmp_path / "whole").read_bytes()
    newest = CheckpointFolder(tmp_path).newest()
    assert newest is not None, "its digest is right"
    assert len(kills) == 1
    assert not list(folder.folder.glob(".*"))


@pytest.mark.cluster
@pytest.mark.slow  # starts processes
@pytest.mark.usefixtures("ray_cluster", "always_by_task")
def test_an_error_in_the_task_is_that_of_the_driver(tmp_path: Path) -> None:
    writer = SegmentWriter(ray.get_runtime_context().get_node_id(), 10**9)
    draft = Path("/dev/full")
    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left on device$"):
        writer(draft, {n: ray.put(each) for n, each in rounds_of(3).items()})
