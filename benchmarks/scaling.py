"""Throughput of the control plane by number of synthesizers and image size, and a model of it.

    python -m benchmarks.scaling [--sides 32 224] [--seconds 0.25] [--most 4]

Synthesizers sleep (`sleeping_actor.py`) and return batches of random images. The dispatcher, the
bank, the board and the trainer's `BankLoader` are the real ones (`scaling_run.py`). Up to `--most`
synthesizers have their own processes. More of them are simulated by a few processes, which gives
driver and bank the load of 1,000 synthesizers. The CPU seconds per batch of each part give the
limit of its throughput. `scaling_model.py` predicts 64 synthesizers and 16 trainers on a cluster
from these and from pieces that are measured alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psutil

from benchmarks import scaling_report
from benchmarks.load_results import Section, write
from benchmarks.scaling_cases import (
    RECIPES,
    Case,
    calibration,
    calls_alone,
    case_of,
    costs_of,
    raylet_lines,
    weights_of,
)
from benchmarks.scaling_nodes import Load, in_own_program
from benchmarks.scaling_run import measure, roles
from fastdfkd.platform.cluster import connect

IMAGES = {32: 256, 224: 100}
"""Images of a batch by image side, as in the recipes of the predictions."""
BETWEEN_NODES = {32: 300, 224: 60}
"""Rounds that are sent between nodes."""
SIMULATED = {32: {64: 1200, 256: 1200, 1000: 1200}, 224: {16: 150, 64: 300}}
"""Batches by number of simulated synthesizers and by image side."""
PROCESSES = 4
"""Number of processes that simulate synthesizers in the last rows."""

COLUMNS = {
    "side": ("pixels", "d"),
    "synthesizers": ("synthesizers", "d"),
    "processes": ("processes", "d"),
    "batches": ("batches", "d"),
    "rate": ("batches/s", ".1f"),
    "share": ("of what the sleep allows", ".0%"),
    "references": ("references a grant", ".1f"),
    "image_bytes": ("image bytes copied a batch", ",.0f"),
    "driver": ("driver, ms CPU a batch", ".2f"),
    "bank": ("bank, ms", ".2f"),
    "board": ("board, ms", ".2f"),
    "trainer": ("trainer, ms", ".2f"),
    "synthesizer": ("synthesizers, ms", ".2f"),
    "raylet": ("raylet, ms", ".2f"),
    "gcs": ("GCS, ms", ".2f"),
}


def notes(rows: list[dict[str, Any]]) -> list[str]:
    """Notes that explain the table and extrapolate its row of about 64 synthesizers."""
    row = calibration(rows)
    parts = ("driver", "bank", "board", "trainer")
    limits = {part: 1e3 / row[part] for part in parts}
    bottleneck = min(parts, key=lambda part: limits[part])
    total = sum(row[part] for part in (*parts, "synthesizer", "raylet", "gcs"))
    limit_text = ", ".join(f"{part} {limits[part]:,.0f}" for part in parts)
    return [
        "Batches of 256 images of 32 pixels, or 100 of 224, uint8. Image bytes: one copy into the "
        "object store by the synthesizer, one into the trainer's ring buffer; reading from the "
        "store copies nothing. A call of a synthesizer returns 1 batch and 1 record (more if "
        "rounds are shorter than 50 ms). An insertion names all batches that have arrived, a grant "
        "all that are new. Synthesizers beyond the number of processes are coroutines: they make "
        "the calls of a batch, but are not 1,000 Ray workers.",
        f"**Extrapolation to 1,000 synthesizers.** At the cost per batch of {row['synthesizers']} "
        f"synthesizers, one core of each part can handle (batches/s): {limit_text}. The bottleneck "
        f"is the {bottleneck}, at {limits[bottleneck]:,.0f} batches/s: 1,000 synthesizers are "
        f"possible if a batch takes {1e3 / limits[bottleneck]:.1f} s or more. All parts share the "
        f"cores of this machine ({total:.1f} ms per batch in total), which limits the rows above "
        "before any single part does. On a cluster, synthesizers, raylets and trainers run on "
        "other nodes, while driver, bank and board share the head. Batches do not pass through "
        f"Ray's control plane: the GCS needs {row['gcs']:.2f} ms CPU per batch, and a raylet "
        f"serves only its own node. On this machine the start of an actor took {row['start']:.1f} "
        "s.",
    ]


def plan(most: int, seconds: float, side: int) -> Iterator[tuple[int, int, int]]:
    """(synthesizers, processes, batches) of each row, with four to eight seconds of sleep."""
    count = 1
    while count <= most:
        yield count, count, max(round((8 if count < 16 else 4) / seconds), 1) * count
        count *= 4
    for simulated, batches in SIMULATED[side].items():
        yield simulated, PROCESSES, batches


def all_rows(sides: Sequence[int], most: int, seconds: float) -> list[dict[str, Any]]:
    """Measure the rows of all sides."""
    rows = []
    for side in sides:
        shape = (IMAGES[side], 3, side, side)
        with roles(max(most, PROCESSES), seconds, shape) as started:
            for synthesizers, processes, batches in plan(most, seconds, side):
                rows.append(measure(synthesizers, processes, batches, started))
                print(rows[-1], flush=True)
    return rows


def modelled(
    cases: Mapping[int, Case],
    rows: list[dict[str, Any]],
    calls: Mapping[str, float],
    weights: Mapping[int, Mapping[str, float]],
) -> list[Section]:
    """Send rounds between nodes; the pieces, the model beside the rows, and its predictions.

    Args:
        cases: the runs to predict, by image side.
        rows: of `all_rows`.
        calls: of `calls_alone`.
        weights: of `weights_of`, by image side.
    """
    nodes = in_own_program([Load(side, IMAGES[side], BETWEEN_NODES[side]) for side in cases])
    costs, raylets = {}, raylet_lines(nodes)
    for side, case in cases.items():
        of_side = [row for row in rows if row["side"] == side]
        costs[side] = costs_of(case, calls, weights[side], of_side, raylets)
    return [
        scaling_report.pieces(costs, nodes),
        scaling_report.check(rows, costs, psutil.cpu_count() or 1),
        *(scaling_report.prediction(case, costs[side]) for side, case in cases.items()),
    ]


def main() -> None:
    """Measure all rows and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.25, help="sleep per batch")
    parser.add_argument(
        "--most", type=int, default=4, help="largest number of synthesizers with own processes"
    )
    parser.add_argument(
        "--sides", type=int, nargs="+", choices=RECIPES, default=list(RECIPES), help="image sides"
    )
    options = parser.parse_args()
    with connect():
        rows = all_rows(options.sides, options.most, options.seconds)
        cases, calls = {side: case_of(side) for side in options.sides}, calls_alone()
        weights = {side: weights_of(case, calls["board_round"]) for side, case in cases.items()}
    sections = modelled(cases, rows, calls, weights)
    title = "Control plane by number of synthesizers and image size"
    lines = [*notes(rows), scaling_report.busy(rows), scaling_report.ASSUMPTIONS]
    for file in write("scaling", title, COLUMNS, rows, lines, "seed 0, one run each", sections):
        print("written:", file)


if __name__ == "__main__":
    main()
