"""The tables on the page of a run: figures, evaluations, cost, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastdfkd.report.table import seconds, size, times
from fastdfkd.runs.figures import FIGURES, measured
from fastdfkd.runs.metrics import Row
from fastdfkd.runs.status import Status

_UNKNOWN = "-"
_MOST_ROWS = 60
_TIMES = {
    "synthesis_seconds": "synthesis, summed over synthesizers",
    "storage_seconds": "storage of images, summed",
    "distillation_seconds": "student updates",
    "synthesizer_idle_seconds": "synthesizers waiting, summed",
    "trainer_idle_seconds": "trainer waiting for images",
    "end_to_end_seconds": "end to end, without evaluation",
    "evaluation_seconds": "evaluation",
    "wall_seconds": "the whole run with start-up and evaluation",
}
_MEMORY = {
    "synthesizer_peak_memory_bytes": "peak memory of one synthesizer",
    "trainer_peak_memory_bytes": "peak memory of one trainer",
}
_SPEEDUPS = {
    "synthesis_speedup": "synthesis speed-up over the reference",
    "end_to_end_speedup": "end-to-end speed-up over the reference",
}

Cells = list[tuple[str, str]]


def reached_rows(status: Status) -> list[tuple[str, str, str]]:
    """Name, the student's and the teacher's value of each figure of the newest evaluation."""
    found = measured({**status.latest, **status.result})
    return [
        (FIGURES[name].heading, FIGURES[name].show(value), _teachers(status, name))
        for name, value in found.items()
    ]


def _teachers(status: Status, name: str) -> str:
    value = status.teacher.get(name)
    return FIGURES[name].show(value) if isinstance(value, float) else _UNKNOWN


def evaluation_table(rows: Sequence[Row]) -> dict[str, Any]:
    """Headings and rows of the evaluations; of more than 60 every n-th and the last one.

    Empty if there was no evaluation.
    """
    found = [row for row in rows if measured(row)]
    if not found:
        return {}
    names = [name for name in FIGURES if any(name in row for row in found)]
    step = -(-len(found) // _MOST_ROWS)
    kept = found[:-1:step] + found[-1:]
    return {
        "heads": ["updates", "end to end", *(FIGURES[name].name for name in names)],
        "rows": [
            [
                f"{row.get('updates', 0):,.0f}",
                _seconds(row),
                *(FIGURES[name].show(row[name]) if name in row else _UNKNOWN for name in names),
            ]
            for row in kept
        ],
    }


def _seconds(row: Row) -> str:
    value = row.get("end_to_end_seconds")
    return _UNKNOWN if value is None else seconds(value)


def cost_rows(status: Status) -> Cells:
    """What the run has cost so far."""
    values = {**status.latest, **status.result}
    rows = [
        (text, f"{values[key]:,.0f}")
        for key, text in (
            ("images", "images synthesised"),
            ("started_images", "images from the start, not synthesised here"),
            ("updates", "student updates"),
        )
        if values.get(key)
    ]
    if values.get("images") and "synthesis_seconds" in values:
        rows.append(
            ("synthesis per image", seconds(values["synthesis_seconds"] / values["images"]))
        )
    rows += [(text, seconds(values[key])) for key, text in _TIMES.items() if key in values]
    rows += [(text, size(values[key])) for key, text in _MEMORY.items() if values.get(key)]
    return rows + [(text, times(values[key])) for key, text in _SPEEDUPS.items() if key in values]


def origin_rows(result: Mapping[str, Any]) -> Cells:
    """Code, packages, hardware and digests of a finished run, as its `result.json` has them."""
    rows = {
        "commit of the code": result.get("commit"),
        "packages": _pairs(result.get("versions")),
        "hardware": _pairs(result.get("hardware")),
        "precision": result.get("precision"),
        "images": _pairs(result.get("input")),
        "seed": result.get("seed"),
        "recipe's digest": result.get("recipe_digest"),
        "teacher's digest": result.get("teacher_digest"),
    }
    return [(name, str(value)) for name, value in rows.items() if value not in (None, "")]


def _pairs(values: Any) -> str:
    if not isinstance(values, dict):
        return ""
    return ", ".join(f"{name} {value}" for name, value in values.items())
