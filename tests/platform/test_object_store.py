"""What of a bank Ray's object store holds, and a run whose bank is larger than it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from ray._private.utils import resolve_object_store_memory

from fastdfkd.platform import object_store
from fastdfkd.platform.dispatcher import CALLS_QUEUED
from fastdfkd.platform.object_store import StoreUse, bytes_at_a_time, use_here
from tests.platform.conftest import tiny

STORE = 80 * 2**20
MANY = {"synthesis__rounds": 100, "synthesis__warmup_rounds": 7, "synthesis__batch_size": 10}


@pytest.mark.parametrize(
    ("changes", "rounds"),
    [
        ({"checkpoint_every": None, "schedule": "lockstep"}, 100),
        ({"checkpoint_every": 10, "schedule": "lockstep"}, 10 + CALLS_QUEUED),
        ({"checkpoint_every": 5, "schedule": "lockstep"}, 10 + CALLS_QUEUED),  # after warm-up
        ({"checkpoint_every": 8, "schedule": "async", "tolerance_rounds": 3}, 11 + CALLS_QUEUED),
        ({"checkpoint_every": 99, "schedule": "lockstep"}, 100),
    ],
)
def test_rounds_are_in_the_store_until_a_checkpoint_has_them(
    changes: dict[str, object], rounds: int
) -> None:
    recipe = tiny(**MANY, **{f"platform__{key}": value for key, value in changes.items()})
    assert bytes_at_a_time(recipe, 256) == rounds * 10 * 256


def test_a_bank_that_evicts_needs_no_more_than_it_keeps() -> None:
    changes = {"platform__checkpoint_every": None, "platform__tolerance_rounds": 1}
    recipe = tiny(**MANY, **changes, bank__capacity=200)
    assert bytes_at_a_time(recipe, 1) == (20 + 1 + CALLS_QUEUED) * 10


def test_the_line_says_what_follows() -> None:
    fits = StoreUse(bank=int(9e9), images=int(0.8e9), store=int(1e9))
    assert fits.line == (
        "Ray's object store: at most 800 MB of the bank's 9 GB are in it at a time; it has 1 GB"
    )
    elsewhere = StoreUse(bank=int(9e9), images=int(3e9), store=int(1e9))
    assert "at least 2.2 GB, to the folder of each node. No image is lost" in elsewhere.line
    here = StoreUse(
        bank=int(9e9), images=int(3e9), store=int(1e9), folder=Path("/x"), room=int(2.3e9)
    )
    assert "to /x, which has room for 2.3 GB." in here.line
    small = StoreUse(
        bank=int(9e9), images=int(3e9), store=int(1e9), folder=Path("/x"), room=int(2.1e9)
    )
    assert "to /x, which has room for only 2.1 GB." in small.line


def test_the_store_of_this_machine_is_the_one_that_ray_would_make(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = object_store.default_store()
    expected = resolve_object_store_memory(psutil.virtual_memory().available)
    assert found == pytest.approx(expected, rel=0.05)
    monkeypatch.setenv("RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES", str(STORE))
    assert object_store.default_store() == STORE


def test_the_folder_is_the_one_that_the_user_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_object_spilling_directory", str(tmp_path / "new"))
    monkeypatch.setenv("RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES", str(STORE))
    use = use_here(tiny(**MANY, platform__checkpoint_every=None), 10**6)
    assert (use.folder, use.store, use.bank) == (tmp_path / "new", STORE, 1000 * 10**6)
    assert use.spilled == use.images - int(0.8 * STORE)


@pytest.mark.parametrize(("free", "room"), [(30, 25), (4, 0)])
def test_the_room_ends_where_ray_takes_the_disk_as_full(
    free: int, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SimpleNamespace(total=100 * 10**9, free=free * 10**9)
    monkeypatch.setattr(object_store.shutil, "disk_usage", lambda _: disk)
    use = use_here(tiny(), 256)
    assert use.room == pytest.approx(room * 10**9)


def run_with_a_small_store(folder: Path, checkpoint_every: int) -> subprocess.CompletedProcess[str]:
    environment = {
        "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(STORE),
        "RAY_local_fs_capacity_threshold": "0.999",
        "RAY_object_spilling_directory": str(folder),
    }
    return subprocess.run(
        [sys.executable, "-m", "tests.platform.small_store", str(folder), str(checkpoint_every)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("checkpoint_every", [0, 2])
def test_a_bank_larger_than_the_store_is_complete(checkpoint_every: int, tmp_path: Path) -> None:
    """12 rounds of 9.6 MB in a store of 84 MB. With checkpoints six of them are in it at a time."""
    done = run_with_a_small_store(tmp_path, checkpoint_every)
    assert done.returncode == 0, done.stderr[-4000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["images"], figures["updates"]) == (12 * 64, 10)
    assert (figures["rounds"], figures["lost"]) == (list(range(12)), 0)
    assert figures["different"] == [], "rounds that are not as they were made"
    notes = [note for note in figures["notes"] if note.startswith("Ray's object store")]
    if checkpoint_every:
        assert (figures["spilled"], notes) == (0, [])
        return
    assert figures["spilled"] >= 12 * 64 * 3 * 224**2 - STORE
    (note,) = notes
    assert "at most 116 MB of the bank's 116 MB are in it at a time; it has 83.9 MB" in note
    assert f"to {tmp_path}, which has room for" in note
