"""How much faster a run was than the reference, by the two measures that are always shown."""

from __future__ import annotations

from fastdfkd.runs.result import RunResult


def with_speedups(reference: RunResult, run: RunResult) -> RunResult:
    """The run's result with its speed-ups over the reference.

    The reference is slow, so it makes fewer images; its costs an image and an update are
    extrapolated to this run's numbers of images and updates:

        synthesis_speedup  = (reference synthesis seconds an image * images) / synthesis seconds
        end_to_end_speedup = (reference (synthesis + storage) seconds an image * images
                              + reference distillation seconds an update * updates)
                             / end-to-end seconds

    The reference is taken in the paper's sequential order, where nothing overlaps; the run's own
    end-to-end time has overlap and waiting in it. By definition the reference's own synthesis
    speed-up is 1; its end-to-end one is near 1, off by its waiting and its overlap.

    Raises:
        ValueError: a run without images, updates or measured time cannot be compared.
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
