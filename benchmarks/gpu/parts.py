"""The parts of a look at a card, in order of importance."""

from __future__ import annotations

import gc
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import Case, pair_case
from benchmarks.gpu.memory_model import CARDS_GB, MemoryModel
from benchmarks.gpu.session import Look, Part
from benchmarks.gpu.step_limits import profiled
from benchmarks.results import machine, table
from benchmarks.step_rows import distillation_rows, synthesis_rows
from benchmarks.timing import flops, matmul_peaks, precisions
from fastdfkd.core.captured import RECORDERS, WARM_UP
from fastdfkd.core.memory import forget_peak_memory, peak_memory_bytes, return_freed_memory
from fastdfkd.core.random_streams import stream

ROOT = Path(__file__).resolve().parents[2]
PAIRS = ("resnet34/resnet18", "vgg11/resnet18", "wrn-40-2/wrn-40-1")
LARGE = "resnet34/resnet18", 224
"""A pair with images of 224 pixels."""
TARGETS = {"synthesis step": 20e-3 / 5, "student update": 1.3e-3}
"""Seconds on one H100: 20 ms for 256 images in k = 5 steps, 1.3 ms for an update of 256."""
TEST_SHARE = 0.3
"""Of the time left, that the tests may take."""
KEPT_S = 5.0
"""Seconds of the budget kept to stop a process and write what it did."""


def conditions(look: Look) -> dict[str, Any]:
    """The conditions of a measurement."""
    return machine(look.device, torch.get_num_threads(), "gpu")


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


def case_of(look: Look, pair: str, side: int = 32) -> Case:
    """A pair of networks with the paper's batches, or with small ones on a CPU."""
    images, steps, batch = (4, 2, 4) if look.small else (256, 5, 256)
    if side > 32 and not look.small:
        images, batch = 64, 64
    return pair_case(pair, look.device, images, steps, batch, side)


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


def ways(look: Look) -> Iterator[tuple[str, str, bool]]:
    """Each precision without and, where there are graphs, with them: name, precision, capture."""
    for precision in precisions(look.device):
        yield precision, precision, False
        if look.device.type in RECORDERS:
            yield f"{precision}, cuda_graphs", precision, True


def works_of(case: Case, precision: str, capture: bool) -> dict[str, Callable[[], object]]:
    """A call of each role: a batch of synthesis, and a student update."""
    synthesizer, distiller = (
        case.synthesizer(precision, capture),
        case.distiller(precision, capture),
    )
    bank = case.bank(2 * case.distillation.batch_size)
    z, labels = case.latents()
    randomness = stream(0, "benchmark", device=case.device)
    return {
        "synthesis": lambda: synthesizer.inner_loop(z, labels, True, randomness),
        "update": lambda: distiller.update(bank),
    }


def limits(look: Look) -> str:
    """Kernels, launches, idle gaps and the next limit of each role, in each way."""
    case, rows = case_of(look, look.pair), []
    counted: dict[str, int] = {}
    for name, precision, capture in ways(look):
        for role, work in works_of(case, precision, capture).items():
            for _ in range(1 if look.small else WARM_UP + 2):
                work()
            if role not in counted:  # a replay's operations cannot be counted
                counted[role] = flops(work)
            peak = look.peaks[precision]
            calls = 1 if look.small else 5
            found = profiled(work, look.device, counted[role], peak, calls)
            rows.append({"case": look.pair, "role": role, "way": name, **found.row()})
            look.write("limits", {**conditions(look), "rows": rows}, limits_table(rows))
    return "; ".join(f"{row['role']}, {row['way']}: {row['next_limit']}" for row in rows[-2:])


def limits_table(rows: list[dict[str, Any]]) -> str:
    """The rows of `limits` as Markdown."""
    lines = [
        "# What bounds a call",
        "",
        "| role | | kernels | launches | busy, ms | idle, ms | GFLOP/s | of peak | next limit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['role']} | {row['way']} | {row['kernels']:.0f} | {row['launches']:.0f} "
        f"| {1e3 * row['busy_seconds']:.3g} | {1e3 * row['idle_seconds']:.3g} "
        f"| {row['flops_per_second'] / 1e9:.4g} | {row['share_of_peak']:.1%} "
        f"| {row['next_limit']} |"
        for row in rows
    ]
    return "\n".join(lines)


def memory(look: Look) -> str:
    """Peak memory of each role as a line in the batch, and the largest batch of a card."""
    rows = []
    precision = precisions(look.device)[-1]
    through, checked = ((16, 64), (32, 48)) if look.small else ((64, 256), (128, 512))
    cases = [(look.pair, 32), ("resnet34/resnet18", 32), ("vgg11/resnet18", 32), LARGE]
    for pair, side in cases[:1] if look.small else cases:
        if side > 32:
            through, checked = (8, 32), (16, 48)
        for role in ("synthesis", "update"):

            def peak(images: int, role: str = role, pair: str = pair, side: int = side) -> float:
                return peak_bytes(look, pair, side, role, images, precision)

            model = MemoryModel.of(peak, through, checked)
            rows.append(
                {
                    "case": f"{pair}, {side} pixels",
                    "role": role,
                    "precision": precision,
                    "fixed_bytes": model.fixed_bytes,
                    "per_image_bytes": model.per_image_bytes,
                    "errors": model.errors,
                    "largest_batch": {card: model.largest_batch(card) for card in CARDS_GB},
                }
            )
            look.write("memory", {**conditions(look), "rows": rows}, memory_table(rows))
    return f"{len(rows)} roles, the worst error of the line {_worst(rows):.1%}"


def _worst(rows: list[dict[str, Any]]) -> float:
    return max(abs(error) for row in rows for error in row["errors"])


def peak_bytes(look: Look, pair: str, side: int, role: str, images: int, precision: str) -> float:
    """Peak bytes of a role with a batch, beyond those before it was built."""
    gc.collect()  # what was built before refers to itself
    if look.device.type == "cuda":
        torch.cuda.empty_cache()
    return_freed_memory()
    before = forget_peak_memory(look.device)
    case = pair_case(pair, look.device, images, 2, images, side)
    capture = look.device.type in RECORDERS
    built: Any
    if role == "synthesis":
        built = case.synthesizer(precision, capture)
        z, labels = case.latents()
        randomness = stream(0, "memory", device=look.device)
        for _ in range(WARM_UP + 1):
            built.inner_loop(z, labels, True, randomness)
    else:
        built = case.distiller(precision, capture)
        bank = case.bank(2 * images)
        for _ in range(WARM_UP + 1):
            built.update(bank)
    found = peak_memory_bytes(look.device) - before
    built.release()
    return float(found)


def memory_table(rows: list[dict[str, Any]]) -> str:
    """The rows of `memory` as Markdown."""
    cards = " | ".join(f"{card} GB" for card in CARDS_GB)
    lines = [
        "# Peak memory and the largest batch",
        "",
        f"| case | role | | fixed, MB | an image, MB | error of the line | {cards} |",
        "|---" * (6 + len(CARDS_GB)) + "|",
    ]
    for row in rows:
        fixed, per_image = row["fixed_bytes"] / 1e6, row["per_image_bytes"] / 1e6
        errors = ", ".join(f"{error:+.1%}" for error in row["errors"])
        batches = " | ".join(f"{row['largest_batch'][card]:,}" for card in CARDS_GB)
        lines.append(
            f"| {row['case']} | {row['role']} | {row['precision']} | {fixed:.4g} "
            f"| {per_image:.3g} | {errors} | {batches} |"
        )
    return "\n".join(lines)


def lacks_product(look: Look) -> str:
    """Why the whole product cannot run."""
    names = [n for n in ("ray", "mlflow", "pydantic") if importlib.util.find_spec(n) is None]
    if names:
        return f"{', '.join(names)} not installed"
    if look.images is None:
        return "no folder with images was given (--images)"
    lost = [name for name in PRODUCT_FILES if not (look.images / name).exists()]
    return f"{look.images} lacks {', '.join(lost)}" if lost else ""


PRODUCT_FILES = (
    "cifar10_jpeg_train.zip",
    "cifar10_jpeg_test.zip",
    "wrn-40-2_cifar10_jpeg.safetensors",
)


def product_words(look: Look) -> list[str]:
    """The command of the whole product: Fast-5 on the JPEG copy of CIFAR-10."""
    assert look.images is not None
    test, teacher = (look.images.absolute() / name for name in PRODUCT_FILES[1:])
    words = [sys.executable, "-m", "fastdfkd", "distill", "cifar10-wrn-40-2-wrn-16-1-fast5"]
    words += ["data.name=folder", f"data.root={test}", f"teacher.weights={teacher}"]
    words += ["input.shape=[3,32,32]", "input.normalisation=cifar10"]
    words += ["platform.schedule=async", "platform.precision=auto", "platform.evaluations=2"]
    words += ["platform.checkpoint_every=null"]
    if look.small:
        words += ["synthesis.rounds=3", "synthesis.warmup_rounds=1", "synthesis.batch_size=16"]
        words += ["synthesis.steps=2", "distillation.updates_per_round=2"]
        words += ["distillation.batch_size=16", "platform.evaluations=0", "platform.workers=0"]
    else:
        words += ["distillation.updates_per_round=300", "distillation.warmup_updates=2000"]
    return [*words, "--out", str((look.out / "product").absolute())]


def product(look: Look) -> str:
    """The whole product with Ray and MLflow; it is stopped before the budget ends."""
    allowed = look.budget.left - KEPT_S
    with (look.out / "product.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(product_words(look), cwd=ROOT, stdout=log, stderr=log)
        try:
            code: int | str = process.wait(timeout=allowed)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait(timeout=KEPT_S)
            code = "stopped at the end of the budget"
        finally:
            if process.poll() is None:
                process.kill()
    return _of_product(look, code)


def _of_product(look: Look, code: int | str) -> str:
    from fastdfkd.runs.status import read_status

    folder = look.out / "product"
    if not folder.is_dir():
        return f"exit {code}: see product.log"
    status = read_status(folder)
    figures = {**status.latest, **status.result}
    look.write("product-figures", {"exit": code, "figures": figures}, str(status.state))
    shown = {name: figures.get(name) for name in ("updates", "accuracy", "end_to_end_seconds")}
    return f"exit {code}, {status.state}: {shown}"


PARTS = (
    Part(name="versions", run=versions, least_s=1),
    Part(name="tests", run=gpu_tests, least_s=20, missing=lacks_pytest),
    Part(name="steps", run=first_steps, least_s=5),
    Part(name="limits", run=limits, least_s=5),
    Part(name="steps-others", run=other_steps, least_s=20),
    Part(name="memory", run=memory, least_s=10),
    Part(name="product", run=product, least_s=60, missing=lacks_product),
)
