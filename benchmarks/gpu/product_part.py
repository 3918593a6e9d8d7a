"""The part `product`: a whole run with Ray and MLflow, as a user makes it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from benchmarks.gpu.conditions import ROOT
from benchmarks.gpu.session import Look

PRODUCT_FILES = (
    "cifar10_jpeg_train.zip",
    "cifar10_jpeg_test.zip",
    "wrn-40-2_cifar10_jpeg.safetensors",
)
KEPT_S = 5.0
"""Seconds of the budget kept to stop a process and write what it did."""


def lacks_product(look: Look) -> str:
    """Why the whole product cannot run."""
    names = [n for n in ("ray", "mlflow", "pydantic") if importlib.util.find_spec(n) is None]
    if names:
        return f"{', '.join(names)} not installed"
    if look.images is None:
        return "no folder with images was given (--images)"
    lost = [name for name in PRODUCT_FILES if not (look.images / name).exists()]
    return f"{look.images} lacks {', '.join(lost)}" if lost else ""


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
