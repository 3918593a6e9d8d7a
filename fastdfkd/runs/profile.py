"""What teacher and student cost as they are deployed: `profile.json` of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from fastdfkd.runs.folder import PROFILE_FILES, read_json, write_text


class ProgramProfile(BaseModel):
    """One network in one runtime with one type of numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    network: Literal["teacher", "student"]
    runtime: Literal["torch", "onnxruntime"]
    numbers: Literal["float32", "bfloat16", "int8"]
    """Type of weights and activations."""
    parameters: NonNegativeInt
    macs: NonNegativeInt | None
    """Multiply-accumulates of one image; None: unknown."""
    file_bytes: NonNegativeInt
    """Of the weights (torch, safetensors) or of the program (onnxruntime)."""
    peak_memory_bytes: NonNegativeInt
    """Most resident memory while the program is opened and answers a large batch, above what the
    process held before."""
    seconds: dict[int, float]
    """Median seconds of one call, by the number of images in it."""
    figures: dict[str, float]
    """The task's figures, 0 to 1; empty without labels."""
    agreement: float | None
    """Share of images, or pixels, to which it assigns the class of the teacher in torch, float32;
    None: the teacher was not found."""
    same_class: float
    """Share to which it assigns the class of its own network in torch, float32."""

    @property
    def name(self) -> str:
        """`student, onnxruntime, int8`."""
        return f"{self.network}, {self.runtime}, {self.numbers}"


class Profile(BaseModel):
    """All programs of a run's teacher and student, measured side by side on the CPU."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    recipe: str
    programs: list[ProgramProfile]
    compared_on: str
    """What the images are that figures and agreements are of."""
    images: NonNegativeInt
    """Number of these images."""
    figure_names: dict[str, str]
    """Names of the task's figures, by key."""
    threads: int
    """Threads of torch and of onnxruntime."""
    rounds: int
    """How often each program was timed."""
    calibrated_on: str | None
    """Images that the int8 programs were calibrated on; None: there are none."""
    hardware: dict[str, Any]
    versions: dict[str, str]
    commit: str
    notes: list[str]
    """Programs that were left out, with the reason."""

    def save(self, folder: Path) -> None:
        """Write `profile.json` to a run's folder."""
        write_text(folder / PROFILE_FILES[0], self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Profile | None:
        """The profile of a run; None if there is none.

        Raises:
            ValueError: the file is damaged.
        """
        path = folder / PROFILE_FILES[0]
        if not path.is_file():
            return None
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{path}: damaged ({where:.60}: {first['msg']})") from None
