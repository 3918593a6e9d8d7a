"""The images with which a run's bank starts (`bank.start_from`), and what they cost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastdfkd.data.image_files import image_files
from fastdfkd.recipe import Recipe
from fastdfkd.text.shown import shown_name
from fastdfkd.trainers.checkpoint import FOLDER, CheckpointFolder

_KEY = "bank.start_from"
_PART_BYTES = 64 * 2**20


@dataclass(frozen=True)
class StartedImages:
    """Images that exist before a run's first round."""

    images: Tensor
    """(N, C, H, W) uint8; N may be 0."""
    source: str = ""
    """What messages call their origin; "" where there are none."""
    synthesis_seconds: float | None = None
    """Seconds of synthesis of the run that made them; None: unknown."""

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
            return cls(torch.zeros(0, *shape, dtype=torch.uint8))
        path = Path(recipe.bank.start_from).expanduser()
        if (path / FOLDER).is_dir():
            return cls._of_run(path, shape)
        share = recipe.data.broken_share
        return cls(image_files(path, shape, _KEY, share), shown_name(path))

    @classmethod
    def _of_run(cls, path: Path, shape: tuple[int, int, int]) -> StartedImages:
        checkpoint = CheckpointFolder(path).newest()
        if checkpoint is None:
            raise ValueError(f"{_KEY}: the run in {shown_name(path)} has no valid checkpoint")
        rounds = checkpoint.images()
        if not rounds:
            raise ValueError(f"{_KEY}: the newest checkpoint in {shown_name(path)} has no images")
        images = torch.cat([rounds[round] for round in sorted(rounds)])
        if tuple(images.shape[1:]) != shape:
            raise ValueError(
                f"{_KEY}: the images of the run in {shown_name(path)} have shape "
                f"{tuple(images.shape[1:])}, this recipe's {shape} (C, H, W): start from a run of "
                "the same input.shape, or from a folder of image files, which are resized"
            )
        return cls(images, shown_name(path), _cost(checkpoint.state))

    def parts(self) -> Iterator[Tensor]:
        """The images in parts of about 64 MiB."""
        if len(self.images):
            each = max(_PART_BYTES // self.images[0].numel(), 1)
            for start in range(0, len(self.images), each):
                yield self.images[start : start + each]

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps of them."""
        return {
            "images": len(self.images),
            "synthesis_seconds": self.synthesis_seconds,
            "digest": hashlib.sha256(self.images.contiguous().numpy().data).hexdigest(),
        }

    def figures(self) -> dict[str, Any]:
        """What a result says of them."""
        return {
            "started_images": len(self.images),
            "started_synthesis_seconds": self.synthesis_seconds,
        }

    def check_same(self, facts: Mapping[str, Any] | None) -> None:
        """Check that these are the images that a resumed run began with.

        Args:
            facts: `facts()` at its checkpoint; None: the checkpoint is older than this key.

        Raises:
            ValueError: they are others.
        """
        if facts is not None and facts["digest"] != self.facts()["digest"]:
            raise ValueError(
                f"{_KEY}: the run began with {facts['images']:,} images, and {self.source} now has "
                f"{len(self.images):,} that are not the same: restore them, or start a new run"
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
        return [f"the bank started with {len(self.images):,} images of {self.source}; {cost}"]


def _cost(state: Mapping[str, Any]) -> float | None:
    """Seconds of synthesis up to a checkpoint, with those of images it had started from."""
    seconds = float(sum(record["synthesis_seconds"] for record in state["totals"]["records"]))
    before = state.get("started") or {"images": 0, "synthesis_seconds": None}
    if not before["images"]:
        return seconds
    known = before["synthesis_seconds"]
    return None if known is None else seconds + float(known)
