"""The two speed-ups of a run over a reference run: synthesis and end to end."""

from __future__ import annotations

from fastdfkd.runs.result import RunResult


def with_speedups(reference: RunResult, run: RunResult) -> RunResult:
    """Return the run's result with its speed-ups over the reference.

    The reference is slow and makes fewer images. Its cost per image and per update is extrapolated
    to the images and updates of the run:

        synthesis_speedup  = (reference synthesis seconds per image * images) / synthesis seconds
        end_to_end_speedup = (reference (synthesis + storage) seconds per image * images
                              + reference distillation seconds per update * updates)
                             / end-to-end seconds

    The reference counts in the paper's sequential order, without overlap. The end-to-end time of
    the run includes overlap and waiting. By definition the synthesis speed-up of the reference over
    itself is 1. Its end-to-end speed-up is near 1 and differs by its waiting and its overlap.

    Raises:
        ValueError: a run has no images, no updates or no measured time.
    """
    _check(reference, "the reference")
    _check(run, "the run")
    synthesis = reference.synthesis_seconds_per_image * run.images
    storage = reference.storage_seconds / reference.images * run.images
    distillation = reference.distillation_seconds / reference.updates * run.updates
    return run.model_copy(
        update={
            "synthesis_speedup": synthesis / run.synthesis_seconds,
            "end_to_end_speedup": (synthesis + storage + distillation) / run.end_to_end_seconds,
        }
    )


def _check(run: RunResult, which: str) -> None:
    figures = ("images", "updates", "synthesis_seconds", "end_to_end_seconds")
    missing = [name for name in figures if not getattr(run, name) > 0]
    if missing:
        raise ValueError(f"no speed-up: {which} ({run.recipe}) has no {', '.join(missing)}")
