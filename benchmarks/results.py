"""Result files of the benchmarks, and the comparison with the last committed ones."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import torch

from fastdfkd.runs.environment import commit, hardware, versions

FOLDER = Path(__file__).parent / "results"
ALLOWED_FALL = 0.9
"""A ratio below this share of the last committed one is marked."""


def machine(device: torch.device, threads: int, benchmark: str = "step_cost") -> dict[str, Any]:
    """The conditions of a measurement: date, hardware, versions, commit and command."""
    return {
        "date": date.today().isoformat(),
        "hardware": hardware(),
        "device": device_name(device),
        "threads": threads,
        "versions": versions(),
        "commit": commit(),
        "command": " ".join([f"python -m benchmarks.{benchmark}", *sys.argv[1:]]),
    }


def results_file(quick: bool) -> Path:
    """Path of this machine's table, without file extension."""
    return FOLDER / f"step_cost-{machine_name()}{'-quick' if quick else ''}"


def machine_name() -> str:
    """Name of this machine for file names."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")


def heading(title: str, record: dict[str, Any]) -> list[str]:
    """The lines above a table: title, date, device, commit, command and versions."""
    return [
        f"# {title}",
        "",
        f"{record['date']}, {record['device']}, {record['threads']} thread(s), "
        f"commit {record['commit'][:12]}{'-dirty' if 'dirty' in record['commit'] else ''}  ",
        f"`{record['command']}`  ",
        ", ".join(f"{k} {v}" for k, v in record["versions"].items()),
        "",
    ]


def compare(rows: list[dict[str, Any]], quick: bool) -> list[str]:
    """One line per ratio, with the last committed one; marked FELL if it lost more than a tenth.

    Ratios are compared only if the naive implementation has the same number of operations. A recipe
    that now names other networks is another case. The operations of the package may change.
    """
    committed = _committed(quick)
    now, then = _naive_work(rows), _naive_work(committed)
    before = {_key(row): row["ratio"] for row in committed}
    lines = []
    for row in rows:
        key = _key(row)
        if row["precision"] == "naive":
            continue
        line = f"{' · '.join(key):70s} {row['ratio']:5.2f}x naive"
        if key in before and math.isclose(now[key[:-1]], then[key[:-1]], rel_tol=1e-3):
            old = before[key]
            line += f" (last committed {old:.2f}x)"
            line += " FELL by more than a tenth" if row["ratio"] < ALLOWED_FALL * old else ""
        lines.append(line)
    return lines


def write(record: dict[str, Any], quick: bool, partial: bool) -> list[Path]:
    """Write the record as JSON and Markdown; return the files.

    With `partial`, when only some pairs were measured, the file names differ from the full table's.
    """
    base = results_file(quick)
    if partial:
        base = base.with_name(base.name + "-pairs")
    FOLDER.mkdir(exist_ok=True)
    files = [Path(f"{base}{ending}") for ending in (".json", ".md")]
    files[0].write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    files[1].write_text(table(record), encoding="utf-8")
    return files


def table(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    peaks = ", ".join(f"{k} {v / 1e9:.0f} GFLOP/s" for k, v in record["peak_gflops"].items())
    lines = [
        *heading("Cost of a step", record),
        f"matmul peak in the same run: {peaks}",
        "",
        "Naive (benchmarks/naive.py) and the package alternate in one process; medians; random "
        "weights. The share of the peak counts the multiplications that each side executes.",
        "",
        "| case | what | | GFLOP | s | share of peak | against naive | with PNG loading "
        "| storage share |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        loading = row.get("ratio_with_loading")
        storage = row.get("storage_share")
        lines.append(
            f"| {row['case']} | {row['what']}, {row['size']} | {row['precision']} "
            f"| {row['gflop']:.2f} | {row['seconds']:.3g} | {row['share_of_peak']:.0%} "
            f"| {row['ratio']:.2f}x "
            f"| {f'{loading:.2f}x' if loading else ''} "
            f"| {f'{storage:.2%}' if storage is not None else ''} |"
        )
    for what in ("synthesis step", "student update"):
        lines += _parts(what, [r for r in record["rows"] if "parts" in r and r["what"] == what])
    return "\n".join(lines) + "\n"


def _parts(what: str, rows: list[dict[str, Any]]) -> list[str]:
    """The table of the parts of a step."""
    if not rows:
        return []
    names = list(rows[0]["parts"])
    lines = ["", f"Parts of a {what}, each alone, milliseconds:", ""]
    lines += [f"| case | | step | {' | '.join(names)} |", "|---" * (len(names) + 3) + "|"]
    for row in rows:
        cells = " | ".join(f"{1e3 * value:.3g}" for value in row["parts"].values())
        step = f"{1e3 * row['seconds']:.4g}"
        lines.append(f"| {row['case']} | {row['precision']} | {step} | {cells} |")
    return lines


def _committed(quick: bool) -> list[dict[str, Any]]:
    path = Path(f"{results_file(quick)}.json").relative_to(FOLDER.parents[1])
    command = ["git", "-C", str(FOLDER.parents[1]), "show", f"HEAD:{path.as_posix()}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return list(json.loads(done.stdout)["rows"]) if done.returncode == 0 else []


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    """Identifies a row: case, step, size and precision."""
    return row["case"], row["what"], row.get("size", ""), row["precision"]


def _naive_work(rows: list[dict[str, Any]]) -> dict[tuple[str, ...], float]:
    """GFLOP of the naive implementation by case, step and size."""
    return {_key(row)[:-1]: row["gflop"] for row in rows if row["precision"] == "naive"}


def device_name(device: torch.device) -> str:
    """Name of the GPU, or of the processor with its instruction set."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{hardware()['processor']} {torch.backends.cpu.get_cpu_capability()}"
