"""A short look at a GPU.

    python -m benchmarks.gpu --budget 600 --out DIR [--images DIR] [--only PART ...]

Versions and checks, the tests marked `gpu` where pytest is installed, then tables in order of
importance: step costs against the plain structure, what bounds them, other networks, memory, and
the whole product where Ray, MLflow and the images are. Each table is written to DIR when it is
finished, and the program ends within the budget. torch alone is enough for the tables.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.gpu import BEGAN
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.session import Budget, Look, run_parts

KEPT_S = 3.0
"""Seconds of the budget for what an alarm does not end, and for the end of the interpreter."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the parts; 0 if none of them failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--budget", type=float, default=600, help="seconds of wall time")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--images", type=Path, help="folder with the JPEG copy of CIFAR-10")
    parser.add_argument("--pair", default="wrn-40-2/wrn-16-1", help="teacher/student, first")
    parser.add_argument("--only", nargs="*", choices=[part.name for part in PARTS])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"])
    options = parser.parse_args(words)
    budget = Budget(options.budget - KEPT_S - (time.monotonic() - BEGAN))
    backstop = threading.Timer(budget.left + KEPT_S, os._exit, [0])  # a call that no alarm ends
    backstop.daemon = True
    backstop.start()
    torch.manual_seed(0)
    kind = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    look = Look(
        device=torch.device(kind),
        budget=budget,
        out=options.out,
        pair=options.pair,
        repeats=options.repeats,
        images=options.images,
    )
    wanted = [p for p in PARTS if options.only is None or p.name in ("versions", *options.only)]
    outcomes = run_parts(look, wanted)
    backstop.cancel()
    return int(any(each["outcome"].startswith("failed") for each in outcomes))


if __name__ == "__main__":
    sys.exit(main())
