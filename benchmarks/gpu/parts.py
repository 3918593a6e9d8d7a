"""The parts of a look at a card, in order of importance."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

from benchmarks.gpu.compiled_part import compiled
from benchmarks.gpu.conditions import LARGE, ROOT, case_of, conditions
from benchmarks.gpu.limits_part import limits
from benchmarks.gpu.memory_part import memory
from benchmarks.gpu.product_part import lacks_product, product
from benchmarks.gpu.session import Look, Part
from benchmarks.results import table
from benchmarks.step_rows import distillation_rows, synthesis_rows
from benchmarks.timing import matmul_peaks

PAIRS = ("resnet34/resnet18", "vgg11/resnet18", "wrn-40-2/wrn-40-1")
TARGETS = {"synthesis step": 20e-3 / 5, "student update": 1.3e-3}
"""Seconds on one H100: 20 ms for 256 images in k = 5 steps, 1.3 ms for an update of 256."""
TEST_SHARE = 0.3
"""Of the time left, that the tests may take."""


def versions(look: Look) -> str:
    """Versions, hardware and matmul peaks."""
    look.peaks.update(matmul_peaks(look.device))
    record = {**conditions(look), "peak_gflops": dict(look.peaks)}
    lines = [f"# {record['device']}", ""]
    lines += [f"- {name} {value}" for name, value in record["versions"].items()]
    lines += [f"- matmul peak, {k}: {v / 1e12:.3g} TFLOP/s" for k, v in look.peaks.items()]
    look.write("versions", record, "\n".join(lines))
    return f"{record['device']}, torch {record['versions']['torch']}"


def gpu_tests(look: Look) -> str:
    """The tests marked `gpu` of the core, in a process of their own."""
    allowed = look.budget.left * TEST_SHARE
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    words += ["-W", "default", "tests/core"]
    try:
        done = subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=allowed
        )
        said, code = done.stdout + done.stderr, str(done.returncode)
    except subprocess.TimeoutExpired as error:
        raw = error.stdout or b""
        said, code = (raw.decode() if isinstance(raw, bytes) else raw), "stopped"
    lines = said.strip().splitlines() or ["no output"]
    look.write("tests", {"exit": code, "output": lines[-200:]}, "\n".join(lines[-40:]))
    return f"exit {code}: {lines[-1]}"


def lacks_pytest(_look: Look) -> str:
    """Why the tests cannot run."""
    names = [n for n in ("pytest", "hypothesis", "pydantic") if importlib.util.find_spec(n) is None]
    return f"{', '.join(names)} not installed" if names else ""


def first_steps(look: Look) -> str:
    """Synthesis step and student update of the first pair, against the plain structure."""
    return _steps(look, "steps", [(look.pair, 32)])


def other_steps(look: Look) -> str:
    """The same of the other pairs, and of images of 224 pixels."""
    return _steps(look, "steps-others", [*((pair, 32) for pair in PAIRS), LARGE])


def _steps(look: Look, name: str, cases: list[tuple[str, int]]) -> str:
    rows: list[dict[str, Any]] = []
    for pair, side in cases:
        case = case_of(look, pair, side)
        for measure in (synthesis_rows, distillation_rows):
            found = measure(case, look.peaks, look.repeats)
            rows += [{**row, "case": f"{pair}, {side} pixels"} for row in found]
            record = {**conditions(look), "peak_gflops": dict(look.peaks), "rows": rows}
            look.write(name, record, table(record) + _targets(look, rows))
        del case
    best = {
        what: min(row["seconds"] for row in rows if row["what"] == what)
        for what in dict.fromkeys(row["what"] for row in rows)
    }
    return ", ".join(f"{what} {1e3 * seconds:.3g} ms at best" for what, seconds in best.items())


def _targets(look: Look, rows: list[dict[str, Any]]) -> str:
    """The best row of each step of the first pair beside the target for an H100."""
    lines = ["", "| step | best, ms | target on an H100, ms |", "|---|---|---|"]
    for what, target in TARGETS.items():
        first = [r for r in rows if r["case"].startswith(look.pair)]
        found = [r["seconds"] for r in first if r["what"] == what]
        if found:
            lines.append(f"| {what} | {1e3 * min(found):.3g} | {1e3 * target:.3g} |")
    return "\n".join(lines) + "\n" if len(lines) > 3 and not look.small else ""


PARTS = (
    Part(name="versions", run=versions, least_s=1),
    Part(name="tests", run=gpu_tests, least_s=20, missing=lacks_pytest),
    Part(name="steps", run=first_steps, least_s=5),
    Part(name="limits", run=limits, least_s=5),
    Part(name="compiled", run=compiled, least_s=60),
    Part(name="steps-others", run=other_steps, least_s=20),
    Part(name="memory", run=memory, least_s=10),
    Part(name="product", run=product, least_s=60, missing=lacks_product),
)
