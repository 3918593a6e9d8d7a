"""Images of a round that a checkpoint holds: a name instead of a copy in Ray's object store.

The file is on the driver's machine. A trainer there maps it into memory, which reads nothing yet. A
trainer elsewhere gets the images from a task that reads the file where it is. The bank holds such
names, so importing this module does not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class FiledImages:
    """Images (B, C, H, W) uint8 of one round in an image segment of a checkpoint."""

    node: str
    """Ray's id of the node with the file."""
    path: Path
    round: int

    def mapped(self) -> torch.Tensor:
        """The images, mapped from the file on this machine. Do not write to them.

        Raises:
            ValueError: the file is missing or damaged, or lacks the round.
        """
        try:
            found = self.path.stat()
        except OSError as error:
            raise ValueError(f"{self.path.name} is missing") from error
        segment = _segment(self.path, found.st_ino, found.st_mtime_ns)
        if self.round not in segment:
            raise ValueError(f"{self.path.name} has no images of round {self.round}")
        return segment[self.round]

    def request(self) -> Any:
        """A reference to the images as an array, read by a task where the file is."""
        there = NodeAffinitySchedulingStrategy(self.node, soft=False)
        return _read.options(scheduling_strategy=there).remote(self)

    @property
    def is_here(self) -> bool:
        """Whether the file is on this process's machine."""
        return bool(ray.get_runtime_context().get_node_id() == self.node)


@lru_cache(maxsize=4)
def _segment(path: Path, _inode: int, _time: int) -> dict[int, torch.Tensor]:
    """The images of a segment by round. Opening it reads its header alone.

    Inode and time are of the file, so that another file of the same name is opened again.
    """
    from fastdfkd.trainers.segment_file import mapped_images

    return mapped_images(path)


@ray.remote(num_cpus=0, max_retries=3)
def _read(images: FiledImages) -> Any:
    return images.mapped().numpy()
