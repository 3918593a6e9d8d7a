"""The table of a run with many classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import thousand_classes
from fastdfkd.recipe import load_recipe


def record() -> dict[str, Any]:
    rounds = [{"round": n, "confidence": n / 20, "of_class": n / 40} for n in range(1, 12)]
    rounds.append({"round": 12, "confidence": 0.95})
    return {
        "recipe": "a",
        "weights": {"teacher": 4_652_008, "student": 2_681_576},
        "real_images": 1000,
        "classes": 1000,
        "rounds": rounds,
        "student": [
            {"updates": 0, "agreement": 0.001, "accuracy": 0.002},
            {"updates": 1440.0, "agreement": 0.25, "accuracy": 0.2},
        ],
        "result": {"seed": 3, "images": 300, "updates": 1440, "wall_seconds": 61.2},
    }


def test_the_page_has_a_row_for_ten_rounds_and_the_interval_of_an_agreement() -> None:
    page = thousand_classes.page(record())
    assert "Seed 3; 300 images, 1,440 student updates, 61 s of wall time." in page
    assert "| 1 to 10 | 14 | 28 |" in page
    assert "| 11 to 12 | 28 | 75 |" in page
    assert "| 0 | 0.1 % | 0.0 to 0.6 % | 0.2 % |" in page
    assert "| 1,440 | 25.0 % | 22.4 to 27.8 % | 20.0 % |" in page


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    thousand_classes.draw(record()["rounds"], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_a_run_whose_labels_are_unknown_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(load_recipe("digits-fast5").to_yaml(), encoding="utf-8")
    with pytest.raises(ValueError, match="balance_over: rounds"):
        thousand_classes.measured(tmp_path)
