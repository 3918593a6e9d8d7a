"""Where a trainer keeps its copy of the bank: on its device, in host memory or on a local disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from fastdfkd.core.image_stores import DeviceImages, HostImages, ImageStore
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.recipe import BankSection
from fastdfkd.text.shown import shown_name
from fastdfkd.trainers.disk_images import DiskImages
from fastdfkd.trainers.gpu_share import assigned_gpu, free_gpu_memory
from fastdfkd.trainers.sent_images import NONE_SENT, SentImages

Place = Literal["device", "host", "disk"]
SHARES: dict[Place, float] = {"device": 0.6, "host": 0.6, "disk": 0.9}
"""Share of the free space of a place that `auto` gives to the bank. The rest of a memory is for the
networks, their activations and the page cache."""
_IN_MEMORY = ("tmpfs", "ramfs")


@dataclass(frozen=True)
class FreeSpace:
    """Free bytes of each place for one trainer."""

    device: int
    host: int
    disk: int
    folder: Path
    """Where the file of `disk` would be."""
    file_system: str = ""
    """Of that folder, such as `ext4`; "" if unknown."""

    @classmethod
    def here(
        cls, device: torch.device, folder: Path, trainers: int = 1, gpu_part: float = 1.0
    ) -> FreeSpace:
        """Measure this machine.

        Args:
            device: of the trainer.
            folder: of the file.
            trainers: that share host memory and disk.
            gpu_part: of a GPU's memory that the trainer may have.

        Raises:
            OSError: there is no such folder.
        """
        host = psutil.virtual_memory().available // trainers
        free = free_gpu_memory(device, gpu_part) if device.type == "cuda" else host
        disk = shutil.disk_usage(folder).free // trainers
        return cls(free, host, disk, folder, _file_system(folder))

    @property
    def disk_is_memory(self) -> bool:
        """Whether files in the folder take memory."""
        return self.file_system in _IN_MEMORY


@dataclass(frozen=True)
class BankLocation:
    """The place of a bank, and why."""

    place: Place
    folder: Path
    """For `disk`."""
    line: str
    """What `check`, `status` and the result say."""

    @classmethod
    def of(cls, section: BankSection, need: int, space: FreeSpace) -> BankLocation:
        """The place that a recipe names, or for `auto` the first one with space.

        Args:
            section: of the recipe.
            need: bytes of all images.
            space: free bytes.

        Raises:
            ValueError: `auto`, and no place has space.
        """
        free: dict[Place, int] = {"device": space.device, "host": space.host, "disk": space.disk}
        if section.location != "auto":
            chosen: Place = section.location
        else:
            usable = [p for p in free if p != "disk" or not space.disk_is_memory]
            fits = [place for place in usable if need <= SHARES[place] * free[place]]
            if not fits:
                raise ValueError(
                    f"bank.location: auto finds no place for the bank's {_size(need)}: "
                    f"{_sizes(free)} are free, of which it takes at most 60 % of a memory and 90 % "
                    f"of a disk (folder {shown_name(space.folder)}): set bank.capacity to fewer "
                    "images, or bank.scratch to a folder on a larger disk"
                )
            chosen = fits[0]
        asked = ", chosen by auto" if section.location == "auto" else ""
        line = f"bank.location: {chosen}{asked}: {_size(need)} of images; free: {_sizes(free)}"
        if chosen == "disk":
            line += f"; file in {shown_name(space.folder)}"
            if space.disk_is_memory:
                line += f", which is a {space.file_system}: it takes memory, set bank.scratch"
        return cls(chosen, space.folder, line)

    def store(self, shape: Sequence[int], device: torch.device | str) -> ImageStore:
        """An empty store at this place.

        Args:
            shape: (N, C, H, W).
            device: of the student.

        Raises:
            OSError: the file cannot be created.
        """
        if self.place == "disk":
            return DiskImages(shape, device, self.folder)
        return (DeviceImages if self.place == "device" else HostImages)(shape, device)


def scratch_folder(section: BankSection) -> Path:
    """The folder for a bank on disk.

    Raises:
        ValueError: `bank.scratch` is no folder on this machine.
    """
    if section.scratch is None:
        return Path(tempfile.gettempdir())
    folder = Path(section.scratch).expanduser()
    if not folder.is_dir():
        raise ValueError(
            f"bank.scratch: {shown_name(folder)} is no folder on this machine: create it on every "
            "machine with a trainer, on a local disk"
        )
    return folder


def located_buffer(
    section: BankSection,
    capacity: int,
    image_shape: Sequence[int],
    device: torch.device,
    started: SentImages = NONE_SENT,
    *,
    trainers: int = 1,
) -> tuple[SampleBuffer, BankLocation]:
    """A trainer's empty copy of the bank, with the images that it starts with.

    Args:
        section: of the recipe.
        capacity: images of the ring.
        image_shape: (C, H, W).
        device: of the student.
        started: images before the first round.
        trainers: on this machine.

    Raises:
        ValueError: no place has space.
        OSError: the file cannot be created, or the disk is full.
    """
    shape = (capacity + started.images, *image_shape)
    need = torch.Size(shape).numel()
    space = FreeSpace.here(device, scratch_folder(section), trainers, assigned_gpu())
    location = BankLocation.of(section, need, space)
    return SampleBuffer.of(location.store(shape, device), started.fetched()), location


def _file_system(folder: Path) -> str:
    """Type of the file system with the longest mount point above a folder."""
    place = folder.resolve()
    mounts = {
        part.mountpoint: part.fstype
        for part in psutil.disk_partitions(all=True)
        if place.is_relative_to(part.mountpoint)
    }
    return mounts[max(mounts, key=len)] if mounts else ""


def _sizes(free: dict[Place, int]) -> str:
    return ", ".join(f"{place} {_size(count)}" for place, count in free.items())


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
