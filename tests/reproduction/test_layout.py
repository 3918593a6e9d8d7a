from __future__ import annotations

import csv
import json
from pathlib import Path

from fastdfkd.reproduction.layout import heads_and_rows, hours_text, notes, write_results
from fastdfkd.reproduction.outcomes import Outcome
from fastdfkd.reproduction.request import TableRun, new_table


def measured(run: TableRun, missing: str = "") -> list[Outcome]:
    """Outcomes whose first cell has no run, and whose others have two."""
    first, *others = run.cells
    return [
        Outcome(cell=first, seeds=2, missing=missing or "not run yet"),
        *(
            Outcome(
                cell=cell,
                seeds=2,
                accuracies=(90.0, 91.0),
                hours=(0.05, 0.07),
                end_to_end_hours=(0.1, 0.1),
                teacher_accuracy=94.0,
            )
            for cell in others
        ),
    ]


def test_measured_figures_stand_below_the_published_ones(workplace: Path) -> None:
    pair = "wrn-40-2/wrn-16-1"
    with new_table("cifar10", rows=["dafl", "fast5"], pairs=[pair], seeds=2, out="out") as run:
        heads, rows = heads_and_rows(run, measured(run))
    assert heads == ["method", "WRN-40-2 to WRN-16-1", "speed-up"]
    assert rows == [
        ["teacher, published", "94.87", "-"],
        ["teacher, measured", "94.00", "-"],
        ["student trained on real images, published", "91.12", "-"],
        ["DAFL, published", "65.71 (1.73)", "16x"],
        ["DAFL, measured", "-", "-"],
        ["Fast-5, published", "88.90 (0.08)", "247x"],
        ["Fast-5, measured", "90.50 ± 0.71 (0.06)", "-"],
    ]


def test_a_measured_speed_up_is_against_the_tables_reference(workplace: Path) -> None:
    pair = "wrn-40-2/wrn-16-1"
    rows = ["deep-inversion", "dafl", "fast5"]
    with new_table("cifar10", rows=rows, pairs=[pair], out="out") as run:
        found = measured(run)
        found[0] = Outcome(cell=found[0].cell, seeds=1, accuracies=(80.0,), hours=(6.0,))
        _, texts = heads_and_rows(run, found)
    assert ["Fast-5, measured", "90.50 ± 0.71 (0.06)", "100x"] in texts


def test_a_table_without_published_figures_has_measured_rows_alone(workplace: Path) -> None:
    with new_table("digits", rows=["dafl", "fast5"], out="out") as run:
        heads, rows = heads_and_rows(run, measured(run))
    assert heads == ["method", "ResNet-14 to half-width ResNet-8"]
    assert [row[0] for row in rows] == ["teacher, measured", "DAFL, measured", "Fast-5, measured"]


def test_notes_say_what_is_missing_and_what_the_figures_are_of(workplace: Path) -> None:
    changes = ["data.name=folder", "data.root=cifar10_jpeg"]
    rows, pair = ["dafl", "dfad"], "resnet34/resnet18"
    with new_table("cifar10", rows=rows, pairs=[pair], overrides=changes, out="out") as run:
        lines = notes(run, measured(run, missing="no files at data.root"))
    assert lines[0] == "Missing: DAFL (ResNet-34 to ResNet-18): no files at data.root"
    assert lines[1] == "Changed in all recipes: data.name=folder data.root=cifar10_jpeg"
    assert "data.name folder instead of cifar10: not comparable" in lines[2]
    assert "DAFL's own table" in lines[3]
    assert "DFAD's own figure" in lines[4]


def test_the_files_hold_the_same_table(workplace: Path) -> None:
    with new_table("cifar10", rows=["fast2", "fast5"], pairs=["vgg11/resnet18"], out="out") as run:
        files = write_results(run, measured(run))
    text = files[0].read_text(encoding="utf-8")
    assert "| Fast-5, measured | 90.50 ± 0.71 (0.06) | - |" in text
    assert "not run yet" in text
    with files[1].open(encoding="utf-8-sig", newline="") as file:
        fast2, fast5 = csv.DictReader(file)
    assert (fast2["accuracy"], fast2["published_accuracy"], fast2["seeds"]) == ("", "84.67", "0")
    assert (float(fast5["accuracy"]), fast5["seeds"], fast5["data"]) == (90.5, "2", "cifar10")
    cells = json.loads(files[2].read_text(encoding="utf-8"))["cells"]
    assert cells[0]["missing"] == "not run yet"
    assert cells[1]["accuracies"] == [90.0, 91.0]
    assert cells[1]["recipe"] == "cifar10-vgg11-resnet18-fast5"


def test_hours_are_short() -> None:
    assert [hours_text(hours) for hours in (42.1, 0.06, 0.00236)] == ["42.1", "0.06", "0.0024"]
