"""The trainer's part of a progress row."""

from __future__ import annotations

from fastdfkd.core.clock import Clock
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.memory import peak_memory_bytes
from fastdfkd.trainers.bank_loader import BankLoader


def progress_row(
    distiller: StudentDistiller, loader: BankLoader, clock: Clock, began: float, loss: float
) -> dict[str, float]:
    """What one worker has done so far, by column of `metrics.csv`.

    `ended` is the Unix time in seconds of the last update, minus the seconds of evaluation before
    it.

    Args:
        distiller: of the worker.
        loader: likewise; its buffer holds the images.
        clock: likewise.
        began: Unix time of the worker's first wait for images in seconds.
        loss: mean of the updates since the last row.
    """
    seconds = clock.seconds
    return {
        "began": began,
        "ended": net_time(clock),
        "updates": distiller.updates,
        "loss": loss,
        "lr": distiller.lr,
        "bank_images": len(loader.buffer),
        "updates_per_second": distiller.updates / max(seconds["distillation"], 1e-9),
        "distillation_seconds": seconds["distillation"],
        "evaluation_seconds": seconds["evaluation"],
        "loading_seconds": seconds["storage"],
        "waiting_seconds": seconds["idle"],
        "lost_rounds": len(loader.lost),
        "trainer_peak_memory_bytes": peak_memory_bytes(clock.device),
    }


def net_time(clock: Clock) -> float:
    """Unix time in seconds, minus the seconds of evaluation so far."""
    return clock.unix() - clock.seconds["evaluation"]
