"""Parquet files give the same images as folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastdfkd.data.own_files import form_of, own_images
from fastdfkd.recipe import DataSection
from tests.data.image_files import NAMES, content, picture, spec_of
from tests.data.read_images import EACH_TWICE, images_of, names_in, said_by


def table_of(labels: Any, names: tuple[str, ...] = (), image: str = "image") -> pa.Table:
    held = [{"bytes": content(picture(NAMES[row // 2])), "path": None} for row in range(6)]
    table = pa.table({image: held, "label": labels})
    facts = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
    return table.replace_schema_metadata({b"huggingface": json.dumps(facts).encode()})


def test_parquet_files_with_rows_or_columns_missing(tmp_path: Path) -> None:
    image = {"bytes": content(picture("red")), "path": None}
    for name, labels, said in [
        ("none", [0, None], "1 of 2 have none (first row 1)"),
        ("secret", [-1, -1], "-1 mostly stands for a label that is kept secret"),
    ]:
        file = tmp_path / name / "a.parquet"
        file.parent.mkdir()
        pq.write_table(pa.table({"image": [image] * 2, "label": labels}), file)
        assert said in said_by(file.parent, "parquet")
    pq.write_table(pa.table({"image": [image]}), tmp_path / "secret" / "b.parquet")
    said = said_by(tmp_path / "secret", "parquet")
    assert "b.parquet): expected the columns image and label, found image. Set" in said


@pytest.mark.parametrize("rows", [2, 100])
def test_parquet(tmp_path: Path, rows: int) -> None:
    file = tmp_path / "data" / "test-00000-of-00001.parquet"
    file.parent.mkdir()
    pq.write_table(table_of([0, 0, 1, 1, 2, 2]), file, row_group_size=rows)
    assert names_in(images_of(tmp_path, "parquet")) == EACH_TWICE
    assert own_images(DataSection(name="parquet", root=str(tmp_path)), "train", spec_of()) is None


def test_parquet_in_several_files_with_names(tmp_path: Path) -> None:
    numbers = [2, 2, 0, 0, 1, 1]  # in the order of the file's own names
    table = table_of(numbers, ("green", "red", "blue"), image="img")
    pq.write_table(table.slice(0, 3), tmp_path / "train-0.parquet")
    pq.write_table(table.slice(3), tmp_path / "train-1.parquet")
    pq.write_table(table.slice(3), tmp_path / "validation-0.parquet")
    assert names_in(images_of(tmp_path, "parquet", "train")) == EACH_TWICE
    assert names_in(images_of(tmp_path, "parquet")) == EACH_TWICE[3:]
    form = form_of("parquet")
    assert form is not None
    section = DataSection(name="parquet", root=str(tmp_path))
    assert form.classes["classification"](section) == ("green", "red", "blue")


def test_parquet_with_labels_as_text(tmp_path: Path) -> None:
    pq.write_table(table_of(EACH_TWICE), tmp_path / "all.parquet")
    order = ("red", "blue", "green")
    assert names_in(images_of(tmp_path / "all.parquet", "parquet", spec=spec_of(order)), order)
