"""Images in files: what a store writes, what it maps, and what it never reads."""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path

import psutil
import pytest
import torch

from fastdfkd.platform.history import History, images_behind
from fastdfkd.recipe import BankSection
from fastdfkd.trainers import bank_loader
from fastdfkd.trainers.bank_location import located_buffer
from fastdfkd.trainers.checkpoint import Checkpoint, CheckpointFolder
from fastdfkd.trainers.disk_images import DiskImages
from fastdfkd.trainers.filed_images import FiledImages
from fastdfkd.trainers.sent_images import SentImages

SHAPE = (1, 4, 4)


def numbered(start: int, count: int) -> torch.Tensor:
    numbers = torch.arange(start, start + count, dtype=torch.uint8)
    return numbers[:, None, None, None].expand(count, *SHAPE).contiguous()


def all_of(store: DiskImages) -> list[int]:
    return store.read(lambda: torch.arange(store.shape[0]))[:, 0, 0, 0].tolist()


def test_lasting_images_are_kept_until_all_of_them_are_replaced(tmp_path: Path) -> None:
    store = DiskImages((6, *SHAPE), "cpu", tmp_path)
    store.write(0, numbered(1, 6))
    store.write(2, numbered(50, 3), lasting=True)
    assert all_of(store) == [1, 2, 50, 51, 52, 6]
    assert len(store.mappings) == 2
    store.write(1, numbered(20, 2))
    assert all_of(store) == [1, 20, 21, 51, 52, 6]
    store.write(3, numbered(30, 2))
    assert all_of(store) == [1, 20, 21, 30, 31, 6]
    assert len(store.mappings) == 1


def test_a_full_disk_is_an_error_and_no_crash() -> None:
    """A device without space takes the place of the file."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        pytest.skip("no /dev/shm")
    store = DiskImages((4, *SHAPE), "cpu", folder)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, store.file)
    with pytest.raises(OSError, match="No space left"):
        store.write(0, numbered(0, 4))
    os.close(full)


ROUNDS, A_ROUND, SIDE = 1400, 100, 224


@pytest.fixture
def sparse_run(tmp_path: Path) -> Path:
    """A checkpoint of 140,000 images of 224 x 224 pixels, 21 GB; its image files are holes."""
    folder = CheckpointFolder(tmp_path)
    folder.save(10, {"totals": {"records": []}, "trainer": {}}, {}, [])
    size, segments = A_ROUND * 3 * SIDE * SIDE, {}
    for first in range(0, ROUNDS, 100):
        rounds = list(range(first, first + 100))
        tree = [["rounds", rounds], ["images", [{"tensor": str(n)} for n in rounds]]]
        header: dict[str, object] = {"__metadata__": {"tree": json.dumps({"items": tree})}}
        for place, round in enumerate(rounds):
            offsets = [place * size, (place + 1) * size]
            shape = [A_ROUND, 3, SIDE, SIDE]
            header[str(round)] = {"dtype": "U8", "shape": shape, "data_offsets": offsets}
        text = json.dumps(header).encode()
        name = f"images-{first:07d}.safetensors"
        with (folder.folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + 100 * size)
        segments[name] = {"digest": "0" * 64, "rounds": rounds}
    path = folder.folder / "manifest-0000010.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "images": segments}))
    return tmp_path


def opened(run: Path) -> Checkpoint:
    checkpoint = CheckpointFolder(run).newest(read_images=False)
    assert checkpoint is not None
    return checkpoint


def test_a_large_bank_is_resumed_without_reading_it(
    sparse_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FiledImages, "is_here", True)
    process = psutil.Process()
    before, began = process.memory_info().rss, time.monotonic()
    filed = [FiledImages("here", path, n) for n, path in opened(sparse_run).files().items()]
    section = BankSection(location="disk", scratch=str(tmp_path))
    started = SentImages(len(filed[:700]) * A_ROUND, tuple(filed[:700]))
    capacity = 700 * A_ROUND
    buffer, _ = located_buffer(section, capacity, (3, SIDE, SIDE), torch.device("cpu"), started)
    for part in filed[700:]:
        source = bank_loader._source(part)
        buffer.extend(source.mapped(), lasting=True)
    assert len(buffer) == ROUNDS * A_ROUND
    assert buffer.draw(50, torch.Generator().manual_seed(0)).shape == (50, 3, SIDE, SIDE)
    assert process.memory_info().rss - before < 200e6, "of 21 GB"
    assert time.monotonic() - began < 20
    written = sum(os.stat(file).st_blocks * 512 for file in sparse_run.rglob("images-*"))
    assert written < 20e6, "neither files nor page cache grew"


def test_a_short_or_foreign_segment_is_seen_without_reading_it(sparse_run: Path) -> None:
    path = sparse_run / "checkpoints" / "images-0000100.safetensors"
    os.truncate(path, path.stat().st_size - 1)
    assert CheckpointFolder(sparse_run).newest(read_images=False) is None


def test_checkpoints_of_a_large_bank_are_incremental(sparse_run: Path) -> None:
    folder = CheckpointFolder(sparse_run, opened(sparse_run))
    held = list(range(ROUNDS + 1))
    assert folder.unwritten(held) == [ROUNDS]
    new = torch.full((A_ROUND, 3, 8, 8), 7, dtype=torch.uint8)
    state = {"totals": {"records": []}, "trainer": {}}
    began = time.monotonic()
    folder.save(20, state, {ROUNDS: new}, held)
    assert time.monotonic() - began < 5
    later = opened(sparse_run)
    assert later.updates == 20
    assert sorted(later.files()) == held
    assert torch.equal(later.images()[ROUNDS], new)
    assert (sparse_run / "checkpoints" / "images-0000020.safetensors").stat().st_size < 1e6


def test_the_history_files_what_a_checkpoint_has(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    images = {round: numbered(round, 2) for round in (0, 1)}
    folder.save(10, {"totals": {}}, images, [0, 1])
    history = History(3, [(0, "a"), (1, "b"), (2, "c")])
    changed = history.file(folder.files(), "here")
    assert sorted(changed) == [0, 1]
    assert history.insertions[2] == (2, "c")
    assert history.held([0, 1, 2]) == [0, 1, 2]
    assert torch.equal(torch.from_numpy(images_behind(history.references_of([1])[1])), images[1])
    assert history.file(folder.files(), "here") == {}, "once"
    folder.save(20, {"totals": {}}, {2: numbered(2, 2)}, [2])
    folder.save(30, {"totals": {}}, {}, [2])
    changed = history.file(folder.files(), "here")
    assert changed[0] is None is changed[1], "their file was deleted"
    assert changed[2] is not None
    assert history.newest_images()[:, 0, 0, 0].tolist() == [2, 3]
