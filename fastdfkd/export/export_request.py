"""What is to be exported, and how; checked before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastdfkd.export.conformity import LEAST_AGREEMENT, TOLERANCE
from fastdfkd.export.deployed import PIXELS, Pixels
from fastdfkd.export.formats import Format
from fastdfkd.export.table import FORMATS
from fastdfkd.recipe.messages import unknown
from fastdfkd.tracking import check_names

ALIAS = "newest"
"""Alias of a registered student, if the user names no other."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What is to be exported, and how."""

    to: str
    """A name of `FORMATS`."""
    pixels: str | None = None
    """What the program reads (`deployed.Pixels`); None: the format's default."""
    out: Path | None = None
    """File or folder to write; None: in the run's `export` folder."""
    overwrite: bool = False
    int8: bool = False
    """Quantise to 8 bits."""
    tolerance: float | None = None
    """Largest difference of a logit, in units of the largest logit (or 1); None: `TOLERANCE`."""
    name: str | None = None
    """Registers an `mlflow` model under this name, in the store of the run."""
    alias: str | None = None
    """Of the registered version; None: `ALIAS`."""
    images: int = 1000
    """Most images on which the export is compared with the network."""
    licence: str | None = None
    """Licence of the teacher, for the file's metadata and the model card."""
    data_root: Path | None = None
    """Folder of the real images, if it has moved."""

    def check(self) -> Format:
        """The format, without int8.

        Raises:
            ValueError: there is no format of that name, or it has no int8 programs.
        """
        if self.to not in FORMATS:
            raise ValueError(unknown("--to", self.to, list(FORMATS)))
        if self.int8 and self.to != "onnx":
            raise ValueError(f"--int8 is for --to onnx, got --to {self.to}")
        if self.int8 and self.tolerance is not None:
            raise ValueError(
                "--tolerance is for float32 programs: an int8 program is refused if it agrees with "
                f"the network on fewer than {LEAST_AGREEMENT:.0%} of the classes"
            )
        if self.name is None and self.alias is not None:
            raise ValueError("--alias is of a registered model: give its --name too")
        if self.name is not None:
            if self.to != "mlflow":
                raise ValueError(
                    f"--name registers a model, which is for --to mlflow, not {self.to}"
                )
            check_names(self.name, self.used_alias)
        return FORMATS[self.to]

    @property
    def used_alias(self) -> str:
        """Alias of the registered version."""
        return ALIAS if self.alias is None else self.alias

    @property
    def allowed(self) -> float:
        """Largest difference of a float32 program, in units of the largest logit (or 1)."""
        return TOLERANCE if self.tolerance is None else self.tolerance

    def read_pixels(self) -> Pixels:
        """What the program reads.

        Raises:
            ValueError: there is no such input, or the format cannot have it.
        """
        allowed = self.check().pixels
        if self.pixels is None:
            return allowed[0]
        for name in allowed:
            if name == self.pixels:
                return name
        if self.pixels in PIXELS:
            raise ValueError(
                f"--input {self.pixels}: {self.to} holds weights only, and the network reads "
                f"normalised pixels: leave --input out; mean and std are in the metadata"
            )
        raise ValueError(unknown("--input", self.pixels, list(PIXELS)))
