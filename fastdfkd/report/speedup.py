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

    Images with which a run's bank started count with what their synthesis cost, on both sides of a
    ratio. Where that is unknown they are left out: then the ratios are of the images that the run
    made itself, and a note of the run says that there were others.

    The reference counts in the paper's sequential order, without overlap. The end-to-end time of
    the run includes overlap and waiting. By definition the synthesis speed-up of the reference over
    itself is 1. Its end-to-end speed-up is near 1 and differs by its waiting and its overlap.

    Raises:
        ValueError: a run has no images, no updates or no measured time.
    """
    _check(reference, "the reference")
    _check(run, "the run")
    images, before = _with_started(run)
    reference_images, reference_before = _with_started(reference)
    reference_seconds = reference.synthesis_seconds + reference_before
    synthesis = reference_seconds / reference_images * images
    storage = reference.storage_seconds / reference.images * run.images
    distillation = reference.distillation_seconds / reference.updates * run.updates
    end_to_end = run.end_to_end_seconds + before
    return run.model_copy(
        update={
            "synthesis_speedup": synthesis / (run.synthesis_seconds + before),
            "end_to_end_speedup": (synthesis + storage + distillation) / end_to_end,
        }
    )


def started_note(run: RunResult) -> str:
    """What speed-ups count of the images that a run's bank started with; "" if there were none."""
    if not run.started_images:
        return ""
    cost = "what they cost is not known, so speed-ups are of the run's own images alone"
    if run.started_synthesis_seconds is not None:
        cost = (
            f"their synthesis took {run.started_synthesis_seconds:,.1f} s, which speed-ups count "
            "and the seconds of the run do not"
        )
    return f"started with {run.started_images:,} images; {cost}."


def _with_started(run: RunResult) -> tuple[int, float]:
    """Images whose synthesis has a known cost, and the seconds of those the bank started with."""
    seconds = run.started_synthesis_seconds
    return (run.images, 0.0) if seconds is None else (run.images + run.started_images, seconds)


def _check(run: RunResult, which: str) -> None:
    figures = ("images", "updates", "synthesis_seconds", "end_to_end_seconds")
    missing = [name for name in figures if not getattr(run, name) > 0]
    if missing:
        raise ValueError(f"no speed-up: {which} ({run.recipe}) has no {', '.join(missing)}")
