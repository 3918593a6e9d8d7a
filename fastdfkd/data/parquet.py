"""Images in parquet files, in the layout of Hugging Face's data sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data.class_names import match_classes
from fastdfkd.data.decoding import open_image
from fastdfkd.data.images import Split
from fastdfkd.data.labels import checked_labels
from fastdfkd.data.places import DEFAULTS, needed_root
from fastdfkd.data.records import Found, IntArray
from fastdfkd.recipe import DataSection
from fastdfkd.text.shown import reason

_IMAGES = ("image", "img", "images", "jpg", "png", "pixel_values")
_LABELS = ("label", "labels", "fine_label", "cls", "target", "class", "coarse_label")
_GROUPS_KEPT = 4


@dataclass(eq=False)
class ParquetRecords:
    """Images of several files. A row is found by its row group, which is read as a whole."""

    files: tuple[Path, ...]
    column: str
    groups: tuple[tuple[int, int, int], ...]
    """(first row, file, group within the file) of each row group."""
    labels: IntArray
    stamp: str
    _kept: dict[int, list[Any]] = field(default_factory=dict, repr=False)
    """The row groups read last, by number."""

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, row: int) -> str:
        """File and row."""
        group = self._group_of(row)
        file = self.groups[group][1]
        first = next(first for first, other, _ in self.groups if other == file)
        return f"{self.files[file].name} row {row - first}"

    def image(self, row: int) -> Image.Image:
        """The image of a row: its bytes are the value, or its field `bytes`."""
        group = self._group_of(row)
        value = self._rows_of(group)[row - self.groups[group][0]]
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise ValueError("the row has no bytes of an image")
        return open_image(content)

    def digest(self) -> str:
        """SHA-256 over the files' names, sizes and times, and the labels."""
        return hashlib.sha256(self.stamp.encode() + self.labels.tobytes()).hexdigest()

    def _group_of(self, row: int) -> int:
        firsts = [first for first, _, _ in self.groups]
        return int(np.searchsorted(firsts, row, side="right")) - 1

    def _rows_of(self, group: int) -> list[Any]:
        if group not in self._kept:
            import pyarrow.parquet

            while len(self._kept) >= _GROUPS_KEPT:
                del self._kept[next(iter(self._kept))]
            _, file, number = self.groups[group]
            with pyarrow.parquet.ParquetFile(self.files[file]) as content:
                table = content.read_row_group(number, columns=[self.column], use_threads=False)
            self._kept[group] = table.column(0).to_pylist()
        return self._kept[group]

    def __getstate__(self) -> dict[str, Any]:
        """Without the row groups that were read."""
        return {**self.__dict__, "_kept": {}}


def read_parquet(section: DataSection, split: Split, spec: ImageSpec) -> Found | None:
    """The rows of a split; None if there is no such split.

    Raises:
        ValueError: a file is damaged, or has no columns of images and labels that fit.
    """
    files = _files(section, split)
    if not files:
        return None
    import pyarrow
    import pyarrow.parquet

    where = f"data ({files[0]}{f' and {len(files) - 1} more' if len(files) > 1 else ''})"
    labels: list[Any] = []
    groups: list[tuple[int, int, int]] = []
    try:
        schema = pyarrow.parquet.read_schema(files[0])
        column, label = section.columns or _columns(schema, where)
        for number, file in enumerate(files):
            with pyarrow.parquet.ParquetFile(file) as content:
                _check_columns((column, label), content.schema_arrow.names, file)
                first = len(labels)
                for group in range(content.num_row_groups):
                    groups.append((first, number, group))
                    first += content.metadata.row_group(group).num_rows
                labels += content.read(columns=[label], use_threads=False).column(0).to_pylist()
    except (pyarrow.ArrowException, OSError, KeyError, IndexError) as error:
        raise ValueError(
            f"{where}: expected parquet files with the columns of images and labels, they cannot "
            f"be read ({reason(error)}). If a file is cut off or damaged, copy it again; else set "
            "data.columns"
        ) from error
    stamp = repr([(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files])
    rows, notes = _labels(labels, _names_in(schema, label), spec, where)
    return Found(ParquetRecords(tuple(files), column, tuple(groups), rows, stamp), where, notes)


def parquet_classes(section: DataSection) -> tuple[str, ...]:
    """Names of the classes as the files of the held-out images state them; empty if not."""
    import pyarrow
    import pyarrow.parquet

    files = _files(section, "test") or _files(section, "train")
    try:
        schema = pyarrow.parquet.read_schema(files[0]) if files else None
    except (pyarrow.ArrowException, OSError):
        return ()  # read_parquet says what is wrong
    if schema is None:
        return ()
    return tuple(_names_in(schema, (section.columns or _columns(schema, str(files[0])))[1]))


def _files(section: DataSection, split: Split) -> list[Path]:
    """The files of a split, by name: `test.parquet`, `data/test-00000-of-00002.parquet`."""
    root, asked = needed_root(section), section.split_path(split)
    place = root if asked is None else root / Path(asked).expanduser()
    if place.is_file():
        return [place] if asked is not None or split == "test" else []
    if asked is not None:
        found = sorted(place.rglob("*.parquet")) if place.is_dir() else _matching(root, asked)
        if not found:
            raise ValueError(f"data.{split}: expected parquet files, there are none at {place}")
        return found
    every = sorted(root.rglob("*.parquet"))
    if not every:
        raise ValueError(f"data.root: expected parquet files, there are none in {root}")
    by_split = {
        name: [file for file in every if _is_of(file.relative_to(root), name)]
        for names in DEFAULTS.values()
        for name in names
    }
    for name in DEFAULTS[split]:
        if by_split[name]:
            return by_split[name]
    return every if split == "test" and not any(by_split.values()) else []


def _matching(root: Path, pattern: str) -> list[Path]:
    try:
        return sorted(root.glob(pattern))
    except (ValueError, NotImplementedError):  # an absolute pattern
        return []


def _is_of(path: Path, split: str) -> bool:
    return split in path.parts[:-1] or path.stem.split("-")[0].split(".")[0] == split


def _check_columns(wanted: Sequence[str], found: Sequence[str], file: Path) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ValueError(
            f"data ({file}): expected the columns {' and '.join(wanted)}, found "
            f"{', '.join(found[:12])}. Set data.columns to the names of images and labels, or "
            "data.test to the files that have these two"
        )


def _columns(schema: Any, where: str) -> tuple[str, str]:
    names = set(schema.names)
    image = next((name for name in _IMAGES if name in names), None)
    label = next((name for name in _LABELS if name in names), None)
    if image is None or label is None:
        raise ValueError(
            f"{where}: expected a column of images ({', '.join(_IMAGES[:3])}) and one of labels "
            f"({', '.join(_LABELS[:3])}), found {', '.join(schema.names)}. Set data.columns to "
            "their names"
        )
    return image, label


def _names_in(schema: Any, label: str) -> list[str]:
    """Class names in Hugging Face's description of a column; empty without them."""
    try:
        facts = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = facts["info"]["features"][label]["names"]
        return [str(name) for name in names]
    except (ValueError, KeyError, TypeError):
        return []


def _labels(
    labels: list[Any], names: list[str], spec: ImageSpec, where: str
) -> tuple[IntArray, tuple[str, ...]]:
    """Labels as classes of the networks: numbers, or names that are matched."""
    unknown = [row for row, label in enumerate(labels) if label is None]
    if unknown:
        raise ValueError(
            f"{where}: expected a label in each row, {len(unknown):,} of {len(labels):,} have none "
            f"(first row {unknown[0]}): remove these rows"
        )
    if labels and all(isinstance(label, str) for label in labels):
        found = sorted(set(labels))
        classes, how = match_classes(found, spec, where)
        by_name = dict(zip(found, classes, strict=True))
        return np.array([by_name[label] for label in labels], np.int64), (how,)
    rows = checked_labels(np.array(labels), len(labels), spec, where)
    if names and spec.class_names and set(names) == set(spec.class_names):
        order = np.array([spec.class_names.index(name) for name in names], np.int64)
        return order[rows], (f"{where}: classes matched by name",)
    return rows, (f"{where}: the numbers of the labels are the classes",)
