from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastdfkd.report import plots
from fastdfkd.report.drawing import style
from fastdfkd.runs.metrics import RowFile


def write_run(folder: Path, scale: float) -> Path:
    folder.mkdir()
    with RowFile(folder / "metrics.csv") as file:
        for step in range(1, 11):
            file.append({"updates": step * 10, "synthesis_seconds": step * scale, "loss": 1.0})
            if step % 2 == 0:
                file.append({"updates": step * 10, "accuracy": 1 - 0.5**step})
    return folder


def test_an_evaluation_takes_the_seconds_of_the_row_before_it(tmp_path: Path) -> None:
    points = plots.points(write_run(tmp_path / "run", 2.0), "synthesis_seconds")
    assert points[0] == (4.0, 0.75)
    assert [x for x, _ in points] == [4.0, 8.0, 12.0, 16.0, 20.0]


def test_the_picture_has_one_line_per_run(tmp_path: Path) -> None:
    runs = {name: [write_run(tmp_path / name, s)] for name, s in (("slow", 10.0), ("fast", 0.5))}
    path = tmp_path / "picture.png"
    plots.accuracy_against_seconds(runs, path, teacher_accuracy=0.998, title="Digits")
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)

    def drawn(index: int) -> int:
        colour = style(index)["color"]
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return int((pixels == rgb).all(axis=1).sum())

    assert drawn(0) > 100
    assert drawn(1) > 100
    assert drawn(2) == 0


def test_a_run_without_metrics_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"metrics\.csv"):
        plots.accuracy_against_seconds(
            {"run": [tmp_path]}, tmp_path / "picture.png", teacher_accuracy=1.0
        )
