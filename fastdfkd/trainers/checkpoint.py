"""Checkpoints of a whole run: trainer, synthesizers, bank. A torn one is seen and passed over.

    <run>/checkpoints/
        images-0000240.safetensors         rounds of the bank that came since the last, written once
        state-0000240.safetensors          all the rest, after 240 student updates
        manifest-0000240.json              names and digests of what belongs together; written last

A checkpoint exists when its manifest does and every digest in it is right. The last two are kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from fastdfkd.runs.files import write_whole
from fastdfkd.runs.folder import read_json
from fastdfkd.trainers.state_file import load_state, save_state

log = logging.getLogger(__name__)

FOLDER = "checkpoints"
KEPT = 2
FORMAT = 3
"""Of the states; checkpoints of another one cannot be gone on from."""


_FileName = Annotated[str, Field(pattern=r"^(state|images)-\d+\.safetensors$")]
"""Beside the manifest: no name leads out of the folder."""


class _Segment(BaseModel):
    """What a manifest says of an image segment."""

    digest: str
    rounds: list[NonNegativeInt]


class _Manifest(BaseModel):
    """What a manifest says."""

    updates: NonNegativeInt
    state: _FileName
    digest: str
    images: dict[_FileName, _Segment]

    @classmethod
    def read(cls, path: Path) -> _Manifest:
        """The manifest in a file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is damaged, no manifest, or of another version.
        """
        values = read_json(path)
        if (form := values.get("format", 1)) != FORMAT and isinstance(form, int):
            raise _OtherVersionError(
                f"{path} is of format {form!s:.9}, this version reads {FORMAT}: go on with the "
                "version that wrote it, or start a new run in another folder"
            )
        try:
            found = cls.model_validate(values, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{path.name}: {where:.60}: {first['msg']}") from None
        if path.name != f"manifest-{found.updates:07d}.json":
            raise ValueError(f"{path.name} says that it stands after {found.updates} updates")
        return found


class _OtherVersionError(ValueError):
    """A checkpoint that is whole, and cannot be gone on from."""


@dataclass(frozen=True)
class Checkpoint:
    """One that was found whole."""

    updates: int
    """Student updates it stands after."""
    state: dict[str, Any]
    """What was saved beside the images."""
    folder: Path
    segments: dict[str, dict[str, Any]]
    """`digest` and `rounds` of each image segment, by file name."""

    def images(self) -> dict[int, torch.Tensor]:
        """The bank's rounds by number, each (B, C, H, W) uint8; evicted ones are left out."""
        found: dict[int, torch.Tensor] = {}
        for name in self.segments:
            segment = load_state(self.folder / name)
            found |= dict(zip(segment["rounds"], segment["images"], strict=True))
        return found


class CheckpointFolder:
    """Writes and finds the checkpoints of a run."""

    def __init__(self, run: Path, from_checkpoint: Checkpoint | None = None):
        self.folder = run / FOLDER
        self.segments = dict(from_checkpoint.segments) if from_checkpoint else {}
        """`digest` and `rounds` of each image segment that counts, by file name."""

    def unwritten(self, rounds: list[int]) -> list[int]:
        """Those of `rounds` whose images are in no segment yet."""
        written = {round for segment in self.segments.values() for round in segment["rounds"]}
        return [round for round in rounds if round not in written]

    def save(
        self, updates: int, state: dict[str, Any], new: dict[int, Any], held: Collection[int]
    ) -> None:
        """Write a checkpoint.

        Args:
            updates: student updates made.
            state: a tree for `save_state`.
            new: images of rounds that are in no segment yet, by number, (B, C, H, W) uint8.
            held: rounds that the bank still holds; segments with none of them are left out.

        Raises:
            OSError: the disk is full or cannot be written to; older checkpoints stay.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.segments = {
            name: segment
            for name, segment in self.segments.items()
            if not set(held).isdisjoint(segment["rounds"])
        }
        if new:
            name = f"images-{updates:07d}.safetensors"
            save_state(self.folder / name, {"rounds": list(new), "images": list(new.values())})
            self.segments[name] = {"digest": _digest(self.folder / name), "rounds": list(new)}
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

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint; damaged ones are named in the log and passed over.

        Raises:
            ValueError: there are some of another version, and none of this one.
        """
        refused: list[Exception] = []
        for path in reversed(self._manifests()):
            try:
                return self._open(_Manifest.read(path))
            except (ValueError, OSError) as error:
                log.warning(
                    "checkpoint %s cannot be used, trying the one before: %s", path.name, error
                )
                refused.append(error)
        for other in (each for each in refused if isinstance(each, _OtherVersionError)):
            raise other
        if refused:
            log.warning("no checkpoint in %s is whole: the run begins anew", self.folder)
        return None

    def _open(self, manifest: _Manifest) -> Checkpoint:
        self._verify(manifest.state, manifest.digest)
        for name, segment in manifest.images.items():
            self._verify(name, segment.digest)
        state = load_state(self.folder / manifest.state)
        segments = {name: segment.model_dump() for name, segment in manifest.images.items()}
        return Checkpoint(manifest.updates, state, self.folder, segments)

    def _verify(self, name: str, digest: str) -> None:
        path = self.folder / name
        if not os.path.isfile(path):
            raise ValueError(f"{name} is missing")
        if _digest(path) != digest:
            raise ValueError(f"{name} is not what was written")

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
        """In the order of their updates; whatever else is called like one is none."""
        named = {path: re.fullmatch(r"manifest-(\d+)\.json", path.name) for path in self._files()}
        numbers = {path: int(name[1]) for path, name in named.items() if name}
        return sorted(numbers, key=numbers.__getitem__)

    def _files(self) -> list[Path]:
        return [path for path in self.folder.glob("*") if path.is_file()]


def _images_of(manifest: Path) -> list[str]:
    """Names of the image segments of a manifest; none where it is damaged."""
    try:
        return list(_Manifest.read(manifest).images)
    except (ValueError, OSError):
        return []


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
