from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from fastdfkd.tuning.objective import parse_objectives
from fastdfkd.tuning.pictures import _Axis, parallel_coordinates, pareto_picture, slices


def test_values_are_placed_by_size_or_by_order() -> None:
    assert [_Axis([2, 5, 8]).height(v) for v in (2, 5, 8)] == [0, 0.5, 1]
    assert _Axis([0.001, 0.1]).height(0.01) == pytest.approx(0.5), "logarithmic"
    words = _Axis(["reptile", "fomaml", "none"])
    assert [text for _, text in words.ticks()] == ["fomaml", "none", "reptile"]
    assert _Axis([3, 3]).height(3) == 0.5


def test_a_key_that_did_not_apply_has_its_own_height() -> None:
    axis = _Axis([1.0, None, 2.0])
    assert axis.ticks()[0] == (axis.height(None), "not used")
    assert axis.height(float("nan")) < 0


def test_pictures_are_drawn_with_gaps_and_unfinished_points(tmp_path: Path) -> None:
    points = pd.DataFrame(
        {
            "point": [0, 1, 2, 3],
            "setting": ["lr=$x^$", "lr=2", "lr=3", "lr=4"],
            "whole": [True, True, True, False],
            "synthesis.meta": ["fomaml", "none", "fomaml", "fomaml"],
            "synthesis.meta_lr": [0.1, None, 0.001, 0.01],
            "accuracy": [0.9, 0.7, 0.8, 0.2],
            "accuracy std": [0.01, None, 0.02, None],
            "synthesis_seconds": [9.0, 3.0, 5.0, 1.0],
        }
    )
    keys = ["synthesis.meta", "synthesis.meta_lr"]
    objectives = parse_objectives("accuracy,synthesis_seconds")
    parallel_coordinates(points, keys, objectives[0], tmp_path / "a.png")
    slices(points, keys, objectives[0], tmp_path / "b.png")
    slices(points, keys[:1], objectives[0], tmp_path / "one.png")
    pareto_picture(points, objectives, [0, 1, 2], tmp_path / "c.png")
    for name in ("a.png", "b.png", "c.png", "one.png"):
        with Image.open(tmp_path / name) as picture:
            assert len(picture.convert("L").getcolors(256) or []) > 20, "more than empty axes"
