"""Checkpoints of a whole run: trainer, synthesizers and bank.

    <run>/checkpoints/
        images-0000240.safetensors   image segment: rounds new in the bank since the last checkpoint
        state-0000240.safetensors    everything else, after 240 student updates
        manifest-0000240.json        names and SHA-256 digests of these files; written last

A checkpoint is valid if its manifest exists and every digest is right; an invalid one is skipped.
An image segment is written once and used by all later checkpoints. The last two checkpoints are
kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from fastdfkd.recipe import Recipe
from fastdfkd.runs.files import draft_of, drop_drafts, write_whole
from fastdfkd.runs.folder import read_json
from fastdfkd.trainers.segment_file import in_file_order, mapped_images, write_segment
from fastdfkd.trainers.state_file import load_state, save_state

log = logging.getLogger(__name__)

FOLDER = "checkpoints"
KEPT = 2
FORMAT = 3
"""Version of the files. A run cannot be resumed from a checkpoint of another version."""

_FileName = Annotated[str, Field(pattern=r"^(state|images)-\d+\.safetensors$")]
"""A file in the folder of the manifest; the pattern excludes paths to other folders."""


WriteImages = Callable[[Path, Mapping[int, Any]], str]
"""Writes a segment into an empty file from images by round, syncs it, and returns its digest."""


class _Segment(BaseModel):
    """The entry of an image segment in a manifest."""

    digest: str
    rounds: list[NonNegativeInt]


class _Manifest(BaseModel):
    """The content of a manifest."""

    updates: NonNegativeInt
    state: _FileName
    digest: str
    images: dict[_FileName, _Segment]

    @classmethod
    def read(cls, path: Path) -> _Manifest:
        """Read a manifest.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is damaged, is no manifest, or has another version.
        """
        values = read_json(path)
        if (form := values.get("format", 1)) != FORMAT and isinstance(form, int):
            raise _OtherVersionError(
                f"{path} has format {form!s:.9}, but this version reads format {FORMAT}: resume "
                "with the version that wrote it, or start a new run in another folder"
            )
        try:
            found = cls.model_validate(values, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{path.name}: {where:.60}: {first['msg']}") from None
        if path.name != f"manifest-{found.updates:07d}.json":
            raise ValueError(f"{path.name} contains the manifest of update {found.updates}")
        return found


class _OtherVersionError(ValueError):
    """A checkpoint was written by another version, so it cannot be resumed from."""


@dataclass(frozen=True)
class Checkpoint:
    """A valid checkpoint."""

    updates: int
    """Number of student updates made before it."""
    state: dict[str, Any]
    """The saved state, without the images."""
    folder: Path
    segments: dict[str, dict[str, Any]]
    """`digest` and `rounds` of each image segment, by file name."""

    def files(self) -> dict[int, Path]:
        """The image segment with each round of the bank, without evicted rounds."""
        return {
            round: self.folder / name
            for name, segment in self.segments.items()
            for round in segment["rounds"]
        }

    def images(self) -> dict[int, torch.Tensor]:
        """Images of the bank by round number, each (B, C, H, W) uint8, without evicted rounds.

        They are mapped from their files: each is read when it is used.
        """
        found: dict[int, torch.Tensor] = {}
        for name in self.segments:
            found |= mapped_images(self.folder / name)
        return found


def next_checkpoint(recipe: Recipe, updates: int) -> int:
    """Student updates at the next checkpoint; all updates of the run if there is none left.

    Checkpoints are after multiples of `checkpoint_every` rounds. Synthesizers save their state
    after the same rounds (`RateLimiter.wave_crosses`).
    """
    every, warmup = recipe.platform.checkpoint_every, recipe.synthesis.warmup_rounds
    if every is None:
        return recipe.updates
    a_round = recipe.distillation.updates_per_round
    rounds = warmup + updates // a_round
    return min(((rounds // every + 1) * every - warmup) * a_round, recipe.updates)


def write_arrays(draft: Path, images: Mapping[int, Any]) -> str:
    """A `WriteImages` of arrays or tensors (B, C, H, W) uint8 in this process."""
    rounds = list(images)
    return write_segment(
        draft, rounds, (np.asarray(images[round]) for round in in_file_order(rounds))
    )


class CheckpointFolder:
    """Writes and reads the checkpoints of a run."""

    def __init__(self, run: Path, from_checkpoint: Checkpoint | None = None):
        self.folder = run / FOLDER
        self.segments = dict(from_checkpoint.segments) if from_checkpoint else {}
        """`digest` and `rounds` of each image segment in use, by file name."""

    def unwritten(self, rounds: list[int]) -> list[int]:
        """The `rounds` whose images are in no segment yet."""
        written = {round for segment in self.segments.values() for round in segment["rounds"]}
        return [round for round in rounds if round not in written]

    def save(
        self,
        updates: int,
        state: dict[str, Any],
        new: Mapping[int, Any],
        held: Collection[int],
        write: WriteImages = write_arrays,
    ) -> None:
        """Write a checkpoint. It is complete when its manifest is there, and invisible before.

        Args:
            updates: number of student updates made.
            state: nested state for `save_state`.
            new: of the `unwritten` rounds, by round number, what `write` takes: images (B, C, H, W)
                uint8, or references to them.
            held: rounds that the bank holds; segments without any of them are dropped.
            write: writes the image segment.

        Raises:
            OSError: the disk is full or not writable. Older checkpoints are kept.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        drop_drafts(self.folder)
        self.segments = {
            name: segment
            for name, segment in self.segments.items()
            if not set(held).isdisjoint(segment["rounds"])
        }
        if new:
            name = f"images-{updates:07d}.safetensors"
            with draft_of(self.folder / name) as draft:
                digest = write(draft, new)
            self.segments[name] = {"digest": digest, "rounds": list(new)}
        name = f"state-{updates:07d}.safetensors"
        save_state(self.folder / name, state)
        manifest = {
            "format": FORMAT,
            "updates": updates,
            "state": name,
            "digest": _digest(self.folder / name),
            "images": self.segments,
        }
        content = json.dumps(manifest, indent=2).encode()
        write_whole(self.folder / f"manifest-{updates:07d}.json", content)
        self._forget()

    def files(self) -> dict[int, Path]:
        """The image segment with each round of the checkpoints that are kept."""
        rounds: dict[int, Path] = {}
        for manifest in self._manifests():
            with contextlib.suppress(ValueError, OSError):
                for name, segment in _Manifest.read(manifest).images.items():
                    rounds |= dict.fromkeys(segment.rounds, self.folder / name)
        return rounds

    def newest(self, *, read_images: bool = True) -> Checkpoint | None:
        """The newest valid checkpoint, or None. Invalid ones are logged and skipped.

        Args:
            read_images: compare the digests of image segments, which reads them whole. False: check
                only that each is there, has its rounds and has its full length.

        Raises:
            ValueError: no checkpoint is valid, and at least one has another version.
        """
        refused: list[Exception] = []
        for path in reversed(self._manifests()):
            try:
                return self._open(_Manifest.read(path), read_images)
            except (ValueError, OSError) as error:
                log.warning("checkpoint %s is invalid, trying the one before: %s", path.name, error)
                refused.append(error)
        for other in (each for each in refused if isinstance(each, _OtherVersionError)):
            raise other
        if refused:
            log.warning("no checkpoint in %s is valid: the run starts again", self.folder)
        return None

    def _open(self, manifest: _Manifest, read_images: bool) -> Checkpoint:
        self._verify(manifest.state, manifest.digest)
        for name, segment in manifest.images.items():
            if read_images:
                self._verify(name, segment.digest)
            elif list(mapped_images(self.folder / name)) != segment.rounds:
                raise ValueError(f"{name} has other rounds than its manifest says")
        state = load_state(self.folder / manifest.state)
        segments = {name: segment.model_dump() for name, segment in manifest.images.items()}
        return Checkpoint(manifest.updates, state, self.folder, segments)

    def _verify(self, name: str, digest: str) -> None:
        path = self.folder / name
        if not os.path.isfile(path):
            raise ValueError(f"{name} is missing")
        if _digest(path) != digest:
            raise ValueError(f"{name} is damaged: its digest differs")

    def _forget(self) -> None:
        for path in self._manifests()[:-KEPT]:
            path.unlink()
            state = path.name.replace("manifest", "state").replace(".json", ".safetensors")
            (self.folder / state).unlink(missing_ok=True)
        needed = set(self.segments).union(*map(_images_of, self._manifests()))
        for path in self.folder.glob("images-*.safetensors"):
            if path.name not in needed:
                path.unlink()

    def _manifests(self) -> list[Path]:
        """Files named like a manifest, in the order of their updates."""
        named = {path: re.fullmatch(r"manifest-(\d+)\.json", path.name) for path in self._files()}
        numbers = {path: int(name[1]) for path, name in named.items() if name}
        return sorted(numbers, key=numbers.__getitem__)

    def _files(self) -> list[Path]:
        return [path for path in self.folder.glob("*") if path.is_file()]


def _images_of(manifest: Path) -> list[str]:
    """Names of the image segments in a manifest; empty if it is damaged."""
    try:
        return list(_Manifest.read(manifest).images)
    except (ValueError, OSError):
        return []


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
