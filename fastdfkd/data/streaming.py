"""Images that are decoded when they are needed, by worker processes, a batch at a time.

A pass over the images starts workers of torch's DataLoader and ends them. Batches travel as arrays
through pipes, so no shared memory is used. At most a few batches exist at a time.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastdfkd.data.decoding import Pixels
from fastdfkd.data.examples import Examples
from fastdfkd.data.images import Images, LabelledImages
from fastdfkd.data.records import IntArray, WrongLabels
from fastdfkd.runs.environment import usable_cores
from fastdfkd.text.shown import reason, shown_name

log = logging.getLogger(__name__)

IN_MEMORY_BYTES = 128 * 2**20
"""Sets of at most so many bytes of pixels are decoded once and stay in memory."""

_CHUNK_BYTES = 4 * 2**20
_MOST_WORKERS = 16
_PIXELS_PER_WORKER = 2**24
_NAMED = 5


class _Chunk(NamedTuple):
    """What a worker returns for some rows."""

    pixels: Pixels
    """(B', C, H, W) of the images that could be read."""
    labels: npt.NDArray[Any]
    """(B', *space) of them."""
    broken: list[tuple[int, str]]
    """The other rows, and why."""
    wrong: str = ""
    """Why labels do not fit the recipe; empty if they do."""


@dataclass(frozen=True)
class _Decoding(torch.utils.data.Dataset[_Chunk]):
    """Chunks of decoded images, as torch's DataLoader wants them: one item is one chunk."""

    examples: Examples
    chunks: Sequence[IntArray]

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, place: int) -> _Chunk:
        pixels, labels, broken, wrong = [], [], [], ""
        for row in self.chunks[place].tolist():
            try:
                image, label = self.examples.read(row)
                pixels.append(image)
                labels.append(label)
            except WrongLabels as error:
                wrong = wrong or str(error)
            except Exception as error:  # decoders raise anything for a damaged file
                broken.append((row, reason(error)))
        if not pixels:
            return _Chunk(np.zeros(0, np.uint8), np.zeros(0, np.uint8), broken, wrong)
        return _Chunk(np.stack(pixels), np.stack(labels), broken, wrong)


@dataclass
class StreamedImages:
    """Images that are read and decoded when they are needed."""

    examples: Examples
    broken_share: float
    """Share of images that may be unreadable, 0 to 1. They are skipped."""
    where: str
    """What messages call the images."""
    said: tuple[str, ...] = ()
    broken: dict[int, str] = field(default_factory=dict)
    """Rows found unreadable so far, and why."""
    part: tuple[int, int] = (0, 1)
    """`(index, of)`: these are part `index` of `of` equal parts of the rows."""

    @property
    def rows(self) -> IntArray:
        """The rows of this part, readable or not."""
        index, of = self.part
        return np.array_split(np.arange(len(self.examples)), of)[index]

    def __len__(self) -> int:
        return len(self.rows) - len(self.broken)

    @property
    def notes(self) -> list[str]:
        """How classes were matched, and the unreadable files found so far."""
        return [*self.said, *([self._broken_line()] if self.broken else [])]

    def digest(self) -> str:
        """SHA-256 (hex) over the files' names, sizes and times, and how they are resized."""
        return self.examples.digest()

    def on(self, device: torch.device | str) -> Images:
        """Itself."""
        return self

    def share(self, index: int, of: int) -> StreamedImages:
        """Some of the rows; they find their own unreadable ones.

        Raises:
            ValueError: these are a part already.
        """
        if self.part != (0, 1):
            raise ValueError("expected all images, got a part of them: divide the whole")
        mine = replace(self, part=(index, of), broken={})
        rows = set(mine.rows.tolist())
        return replace(mine, broken={row: w for row, w in self.broken.items() if row in rows})

    def in_memory(self) -> LabelledImages:
        """All images that can be read, decoded."""
        parts = list(self._arrays(max(len(self), 1), None))
        images, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return LabelledImages(torch.from_numpy(images), torch.from_numpy(labels), tuple(self.notes))

    def batches(
        self, size: int, order: Tensor | None = None
    ) -> Generator[tuple[Tensor, Tensor], None, None]:
        """See `Images`. Where images turn out to be unreadable the next ones move up."""
        with closing(self._arrays(size, order)) as parts:
            for pixels, labels in parts:
                yield torch.from_numpy(pixels), torch.from_numpy(labels).long()

    def _arrays(
        self, size: int, order: Tensor | None
    ) -> Generator[tuple[Pixels, npt.NDArray[Any]], None, None]:
        """As `batches`, with labels of their own type."""
        rows = np.setdiff1d(self.rows, list(self.broken))
        if order is not None:
            rows = rows[order.cpu().numpy()]
        waiting: list[tuple[Pixels, npt.NDArray[Any]]] = []
        count, known = 0, len(self.broken)
        with closing(self._decoded(rows)) as chunks:
            for chunk in chunks:
                self._note(chunk)
                if len(chunk.pixels):
                    waiting.append((chunk.pixels, chunk.labels))
                count += len(chunk.pixels)
                while count >= size:
                    pixels, labels = (np.concatenate(part) for part in zip(*waiting, strict=True))
                    yield pixels[:size], labels[:size]
                    waiting, count = [(pixels[size:], labels[size:])], count - size
        if count:
            pixels, labels = (np.concatenate(part) for part in zip(*waiting, strict=True))
            yield pixels, labels
        if len(self.broken) > known:
            log.warning("%s: %s", self.where, self._broken_line())
        if not len(self):
            raise ValueError(f"{self.where}: no image can be read: {self._broken_line()}")

    def _decoded(self, rows: IntArray) -> Generator[_Chunk, None, None]:
        height, width = self.examples.geometry.size
        each = max(_CHUNK_BYTES // (self.examples.channels * height * width), 1)
        chunks = [rows[start : start + each] for start in range(0, len(rows), each)]
        workers = _workers(len(chunks), len(rows) * max(height * width, 2**12))
        decoding = _Decoding(self.examples, chunks)
        how: dict[str, Any] = {"generator": torch.Generator()}  # the default one is the networks'
        if workers:
            # Forked workers need neither the user's main module nor a new interpreter. They use no
            # GPU, and the program's signal handling resets itself in them (`signals.py`).
            how |= {"multiprocessing_context": "fork", "worker_init_fn": _start_worker}
        loader: torch.utils.data.DataLoader[_Chunk] = torch.utils.data.DataLoader(
            decoding, batch_size=None, num_workers=workers, collate_fn=_as_it_is, **how
        )
        yield from loader

    def _note(self, chunk: _Chunk) -> None:
        """Remember unreadable images; end if there are too many, or if labels do not fit."""
        if chunk.wrong:
            raise ValueError(f"{self.where}: {chunk.wrong}")
        self.broken.update(chunk.broken)
        allowed = self.broken_share * len(self.examples)
        if len(self.broken) > allowed:
            raise ValueError(
                f"{self.where}: {self._broken_line()}. At most {self.broken_share:.2%} may be "
                "unreadable: repair or remove them, or raise data.broken_share"
            )

    def _broken_line(self) -> str:
        rows = sorted(self.broken)
        named = "; ".join(f"{self._name(row)} ({self.broken[row]})" for row in rows[:_NAMED])
        more = f"; and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else ""
        total = len(self.examples)
        return f"{len(rows):,} of {total:,} images cannot be read and are skipped: {named}{more}"

    def _name(self, row: int) -> str:
        return shown_name(self.examples.records.name(row))


def _workers(chunks: int, pixels: int) -> int:
    """Worker processes for so much work: none if it takes about as long as starting them."""
    return min(int(usable_cores()), _MOST_WORKERS, chunks, pixels // _PIXELS_PER_WORKER)


def _as_it_is(chunk: Any) -> Any:
    """Keep arrays: torch's own tensors would be sent through shared memory."""
    return chunk


def _start_worker(_: int) -> None:
    """Leave Ctrl-C to the parent, which ends its workers, and end on SIGTERM at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
