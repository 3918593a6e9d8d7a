"""The images with which a run's bank starts (`bank.start_from`), and what they cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from torch import Tensor

from fastdfkd.data.image_files import image_files
from fastdfkd.recipe import Recipe
from fastdfkd.text.shown import shown_name
from fastdfkd.trainers.checkpoint import FOLDER, CheckpointFolder
from fastdfkd.trainers.filed_images import FiledImages
from fastdfkd.trainers.sent_images import SentImages

_KEY = "bank.start_from"
_PART_BYTES = 64 * 2**20


@dataclass(frozen=True)
class StartedImages:
    """Images that exist before a run's first round."""

    parts: tuple[Tensor, ...] = ()
    """(N, C, H, W) uint8 each. Those of a run are mapped from its files, not read."""
    source: str = ""
    """What messages call their origin; "" where there are none."""
    synthesis_seconds: float | None = None
    """Seconds of synthesis of the run that made them; None: unknown."""
    files: tuple[tuple[Path, int], ...] = ()
    """The image segment and the round of each part; empty if no run made them."""
    segments: str = ""
    """SHA-256 (hex) of the digests of these segments; "" if no run made them."""

    def __len__(self) -> int:
        """Number of images."""
        return sum(map(len, self.parts))

    @property
    def images(self) -> Tensor:
        """A copy of all images, (N, C, H, W) uint8."""
        return torch.cat(self.parts)

    @classmethod
    def of(cls, recipe: Recipe, shape: tuple[int, int, int]) -> StartedImages:
        """The images that a recipe's bank starts with.

        Args:
            recipe: of the run.
            shape: (C, H, W) of its images.

        Raises:
            ValueError: they cannot be read, or a run's images have another shape.
        """
        if recipe.bank.start_from is None:
            return cls()
        path = Path(recipe.bank.start_from).expanduser()
        if (path / FOLDER).is_dir():
            return cls._of_run(path, shape, whole=recipe.bank.location == "device")
        if (path / "state.json").is_file():  # a folder of a run; its samples are no bank
            raise ValueError(
                f"{_KEY}: the run in {shown_name(path)} has no checkpoint: it ended before the "
                "first (platform.checkpoint_every), or `fastdfkd clean` removed them. Start from "
                "images of `fastdfkd synthesize`, from another run, or from a folder of images"
            )
        images = image_files(path, shape, _KEY, recipe.data.broken_share)
        each = max(_PART_BYTES // images[0].numel(), 1)
        return cls(torch.split(images, each), shown_name(path))

    @classmethod
    def _of_run(cls, path: Path, shape: tuple[int, int, int], whole: bool) -> StartedImages:
        checkpoint = CheckpointFolder(path).newest(read_images=whole)
        if checkpoint is None:
            raise ValueError(f"{_KEY}: the run in {shown_name(path)} has no valid checkpoint")
        rounds = checkpoint.images()
        if not rounds:
            raise ValueError(f"{_KEY}: the newest checkpoint in {shown_name(path)} has no images")
        parts = {round: rounds[round] for round in sorted(rounds)}
        first = next(iter(parts.values()))
        if tuple(first.shape[1:]) != shape:
            raise ValueError(
                f"{_KEY}: the images of the run in {shown_name(path)} have shape "
                f"{tuple(first.shape[1:])}, this recipe's {shape} (C, H, W): start from a run of "
                "the same input.shape, or from a folder of image files, which are resized"
            )
        where = checkpoint.files()
        files = tuple((where[round].absolute(), round) for round in parts)
        listed = sorted(segment["digest"] for segment in checkpoint.segments.values())
        segments = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
        cost = _cost(checkpoint.state)
        return cls(tuple(parts.values()), shown_name(path), cost, files, segments)

    def sent(self) -> SentImages:
        """The images as the driver gives them to the trainers. Those of a run stay in its files."""
        if self.files:
            node = ray.get_runtime_context().get_node_id()
            filed = tuple(FiledImages(node, path, round) for path, round in self.files)
            return SentImages(len(self), filed)
        return SentImages(len(self), tuple(ray.put(part.numpy()) for part in self.parts))

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps of them: their number, their cost, and what identifies them.

        Images of a run are identified by the digests in its manifest, others by their pixels.
        """
        same = {"segments": self.segments} if self.segments else {"digest": self._pixel_digest()}
        return {"images": len(self), "synthesis_seconds": self.synthesis_seconds, **same}

    def _pixel_digest(self) -> str:
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()

    def figures(self) -> dict[str, Any]:
        """What a result says of them."""
        return {
            "started_images": len(self),
            "started_synthesis_seconds": self.synthesis_seconds,
        }

    def check_same(self, facts: Mapping[str, Any] | None) -> None:
        """Check that these are the images that a resumed run began with.

        Args:
            facts: `facts()` at its checkpoint; None: the checkpoint is older than this key.

        Raises:
            ValueError: they are others.
        """
        if facts is None:
            return
        if self.segments and "segments" in facts:
            same = facts["segments"] == self.segments
        else:  # image files, or a checkpoint of a version that always read the pixels
            same = facts.get("digest") == self._pixel_digest()
        if not same:
            raise ValueError(
                f"{_KEY}: the run began with {facts['images']:,} images, and {self.source} now has "
                f"{len(self):,} that are not the same: restore them, or start a new run"
            )

    @property
    def notes(self) -> list[str]:
        """A line about the images and their cost; none where there are none."""
        if not self.source:
            return []
        cost = "what their synthesis cost is not known, and no figure of this run counts it"
        if self.synthesis_seconds is not None:
            cost = (
                f"their synthesis took {self.synthesis_seconds:,.1f} s, which synthesis_seconds "
                "leaves out and speed-ups count"
            )
        return [f"the bank started with {len(self):,} images of {self.source}; {cost}"]


def _cost(state: Mapping[str, Any]) -> float | None:
    """Seconds of synthesis up to a checkpoint, with those of images it had started from."""
    seconds = float(sum(record["synthesis_seconds"] for record in state["totals"]["records"]))
    before = state.get("started") or {"images": 0, "synthesis_seconds": None}
    if not before["images"]:
        return seconds
    known = before["synthesis_seconds"]
    return None if known is None else seconds + float(known)
