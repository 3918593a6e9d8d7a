"""What a format of `fastdfkd export` is: it writes a student, and runs what it wrote."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from fastdfkd.export.deployed import PIXELS, DeployedNetwork, Pixels, feed_of
from fastdfkd.export.finished_student import FinishedStudent


@dataclass(frozen=True, kw_only=True, eq=False)
class Content:
    """What is written to a file."""

    student: FinishedStudent
    network: DeployedNetwork
    """The student with its input."""
    facts: dict[str, Any]
    """Of `provenance.provenance`."""
    card: str
    """The model card, Markdown."""


class Format(ABC):
    """Writes a student, and runs what was written with the format's own runtime."""

    file: ClassVar[str]
    """Name of the file or folder in a run's `export` folder."""
    pixels: ClassVar[tuple[Pixels, ...]] = PIXELS
    """Inputs that it can have; the first one is the default."""

    def require(self) -> None:  # noqa: B027 (most formats need nothing more)
        """Check that the packages that the format needs are installed.

        Raises:
            RecipeError: one is not. Says which command installs it.
        """

    @abstractmethod
    def write(self, content: Content, path: Path) -> None:
        """Write a file or folder that does not exist yet."""

    @abstractmethod
    def run(self, content: Content, path: Path) -> Callable[[Tensor], Tensor]:
        """Open what `write` wrote.

        Returns:
            Maps what the program reads, (B, C, H, W), to logits (B, K, *space) float32.
        """

    def answer(self, content: Content, path: Path) -> Callable[[Tensor], Tensor]:
        """As `run`, for images (B, C, H, W) uint8."""
        run, feed = self.run(content, path), feed_of(content.student.spec, content.network.pixels)
        return lambda images: run(feed(images))
