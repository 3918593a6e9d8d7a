"""How much of a bank Ray's object store holds, and what Ray does with the rest.

Ray writes objects for which a store has no memory to files of its node ("spilling"), and reads them
back when they are asked for. Source: Ray 2.60, `ray/_private/node.py` and
`ray/_private/ray_constants.py`.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.util import placement_group_table

from fastdfkd.platform import cluster
from fastdfkd.platform.dispatcher import CALLS_QUEUED
from fastdfkd.platform.places import LESS_IN_STORE, SPILL_FOLDER, default_folder
from fastdfkd.recipe import Recipe
from fastdfkd.report.table import size
from fastdfkd.text.shown import shown_name

_THRESHOLD = "RAY_object_spilling_threshold"
_FULL = "RAY_local_fs_capacity_threshold"
_SHARE = "RAY_DEFAULT_OBJECT_STORE_MEMORY_PROPORTION"
_MOST = "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES"
SPILLS_AT = float(os.environ.get(_THRESHOLD, 0.8))
"""Share of a store above which Ray starts to spill."""
FULL_DISK = float(os.environ.get(_FULL, 0.95))
"""Share of a disk above which Ray does not spill to it."""
_LEAST_CAP = 10**10
"""Ray's cap on a store is never below it; a store larger than /dev/shm is in files."""


def bytes_at_a_time(recipe: Recipe, image_bytes: int) -> int:
    """Most bytes of images that are in the object store at a time.

    A round is there until a checkpoint has it. Without checkpoints it is there until the driver
    drops it: `ResumeState.driver_history`.

    Args:
        recipe: of the run.
        image_bytes: of one image.
    """
    platform, synthesis = recipe.platform, recipe.synthesis
    coming = recipe.most_rounds_ahead + platform.synthesizers * CALLS_QUEUED
    rounds = recipe.capacity_rounds + recipe.spare_rounds
    every = platform.checkpoint_every
    if every is not None:
        first = (synthesis.warmup_rounds // every + 1) * every
        rounds = min(rounds, max(first, every))
    return min(rounds + coming, synthesis.rounds) * synthesis.batch_size * image_bytes


@dataclass(frozen=True, kw_only=True)
class StoreUse:
    """What images need of the store of a node, and what follows."""

    bank: int
    """Bytes of all images of the bank."""
    images: int
    """Bytes of images in this store at a time, at most."""
    store: int
    """Bytes of the store."""
    folder: Path | None = None
    """Where the node spills to. None: not known, in a cluster that this program did not start."""
    room: int = 0
    """Bytes that the node may still write there."""

    @property
    def spilled(self) -> int:
        """Bytes of images for which there is no memory. Ray may write more of them to disk."""
        return max(self.images - int(SPILLS_AT * self.store), 0)

    @property
    def line(self) -> str:
        """What `check` and the notes of a run say."""
        line = (
            f"Ray's object store: at most {size(self.images)} of the bank's {size(self.bank)} are "
            f"in it at a time; it has {size(self.store)}"
        )
        return f"{line}. {self._what_follows()}" if self.spilled else line

    def _what_follows(self) -> str:
        disk, place = "a disk", "the folder of each node"
        if self.folder is not None:
            few = "" if self.spilled <= self.room else "only "
            disk = "that disk"
            place = f"{shown_name(self.folder)}, which has room for {few}{size(self.room)}"
        return (
            f"Ray writes what does not fit, at least {size(self.spilled)}, to {place}. No image is "
            f"lost by that; when {disk} is {FULL_DISK:.0%} full, the run ends with an error: "
            f"{LESS_IN_STORE}"
        )


def use_of_group(recipe: Recipe, image_bytes: int, group: Any) -> StoreUse:
    """The use of the node whose store is the first to be full, on this cluster.

    Images are in the store of the node of the synthesizer that made them.

    Args:
        recipe: of the run.
        image_bytes: of one image.
        group: placement group with one bundle per synthesizer.
    """
    bundles = placement_group_table(group)["bundles_to_node_id"].values()
    stores = {
        node["NodeID"]: int(node["Resources"].get("object_store_memory", 0))
        for node in ray.nodes()  # type: ignore[no-untyped-call]
    }
    total = bytes_at_a_time(recipe, image_bytes)
    needs = {node: total * count // len(bundles) for node, count in Counter(bundles).items()}
    first = max(needs, key=lambda node: needs[node] - SPILLS_AT * stores[node])
    return _use(recipe, image_bytes, needs[first], stores[first], cluster.spill_folder())


def use_here(recipe: Recipe, image_bytes: int) -> StoreUse:
    """The use of the store of a Ray that is started on this machine.

    Args:
        recipe: of the run.
        image_bytes: of one image.
    """
    folder = os.environ.get(SPILL_FOLDER) or default_folder()
    total = bytes_at_a_time(recipe, image_bytes)
    return _use(recipe, image_bytes, total, default_store(), Path(folder))


def default_store() -> int:
    """Bytes of the store of a Ray that is started here: 30 % of the free memory, or /dev/shm."""
    most = int(os.environ.get(_MOST, 200 * 10**9))
    shared = Path("/dev/shm")
    if shared.is_dir():
        most = min(most, max(_LEAST_CAP, int(0.95 * shutil.disk_usage(shared).free)))
    available = psutil.virtual_memory().available
    return min(int(available * float(os.environ.get(_SHARE, 0.3))), most)


def _use(
    recipe: Recipe, image_bytes: int, images: int, store: int, folder: Path | None
) -> StoreUse:
    return StoreUse(
        bank=recipe.capacity * image_bytes,
        images=images,
        store=store,
        folder=folder,
        room=0 if folder is None else _room(folder),
    )


def _room(folder: Path) -> int:
    """Bytes that Ray may write to a folder's disk before it counts the disk as full."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    disk = shutil.disk_usage(existing)
    return max(disk.free - int((1 - FULL_DISK) * disk.total), 0)
