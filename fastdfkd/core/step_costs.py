"""Measures what a synthesis step and a student update cost here, on a few of them.

Both roles are built as a run builds them, and reuse freed memory as its processes do. A few images
come first. Their seconds say how many fit the given time, at most a whole batch; that many are
measured. Seconds and memory of a part are scaled by the number of images, which overestimates them
where a few images cost almost as much as many.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from fastdfkd.core.captured import warm_up_calls
from fastdfkd.core.clock import Clock
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.memory import forget_peak_memory, freed_memory_kept, peak_memory_bytes
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.methods.loss_terms import DivergedError
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.core.task import Task
from fastdfkd.core.teacher_cache import TeacherCache

if TYPE_CHECKING:
    from fastdfkd.recipe import DistillationSection, SynthesisSection

SECONDS = 6.0
"""Seconds that the measurement of a role may take, roughly."""
_FIRST_IMAGES = 8
_STEPS = 5
_TIMES = 2
"""Calls that are timed, after one that is not."""
_GROWTH = 2
"""A batch is measured again only if so many times more images fit, or all."""


@dataclass(frozen=True, kw_only=True)
class StepCosts:
    """Seconds and memory of one call of a role, for a whole batch."""

    seconds: float
    """Of a synthesis step, with its share of what a batch needs once, or of a student update."""
    warmup_seconds: float
    """The same in synthesis' warm-up, when the student is not asked."""
    memory_bytes: int
    """What the role needs beyond the memory before it was built."""
    images: int
    """Images of the measured batch; fewer than those of a batch if the figures were scaled."""


def synthesis_costs(
    section: SynthesisSection, task: Task, *, threads: int = 1, seconds: float = SECONDS
) -> StepCosts:
    """Costs of a synthesis step on `task.device`, uncompiled.

    Args:
        section: of any method.
        task: its networks are put in eval mode and frozen; the student is copied.
        threads: CPU threads of the synthesizer.
        seconds: how long to measure, roughly.
    """
    task = replace(task, compile=False)  # compiling would take longer than the measurement

    def build(images: int) -> _Role:
        short = section.shortened(steps=_STEPS, batch_size=images)
        synthesizer = build_synthesizer(short, task)
        later = section.warmup_rounds

        def make(round: int) -> None:
            # With an untrained student a strong adversarial term may diverge; it costs the same.
            with suppress(DivergedError):
                synthesizer.synthesize(round)

        calls: list[Callable[[int], object]] = [lambda n: make(later + n)]
        if later:
            calls.append(lambda n: make(n % later))
        return _Role(calls, getattr(synthesizer, "release", lambda: None))

    steps = section.shortened(steps=_STEPS, batch_size=1).steps_per_batch
    found = _measured(build, section.batch_size, task, threads, seconds)
    first, *rest = (each / steps for each in found.seconds)
    return StepCosts(
        seconds=first,
        warmup_seconds=rest[0] if rest else first,
        memory_bytes=found.memory_bytes,
        images=found.images,
    )


def update_costs(
    section: DistillationSection,
    task: Task,
    *,
    workers: int = 1,
    threads: int = 1,
    seconds: float = SECONDS,
) -> StepCosts:
    """Costs of a student update on `task.device`, uncompiled. It trains the student in `task`.

    Args:
        section: of the recipe.
        task: teacher and student.
        workers: among which the images of an update are shared out.
        threads: CPU threads of a worker.
        seconds: how long to measure, roughly.
    """
    share = section.batch_size // workers
    task = replace(task, compile=False)

    def build(images: int) -> _Role:
        short = section.model_copy(update={"batch_size": images})
        distiller = StudentDistiller(short, task, total_updates=section.updates_per_round)
        bank = SampleBuffer(2 * images, task.image_shape, task.device)
        bank.extend(_noise(2 * images, task))
        if distiller.cache is not None:
            _fill(distiller.cache, task)
        return _Role([lambda _: distiller.update(bank)], distiller.release)

    found = _measured(build, share, task, threads, seconds)
    return StepCosts(
        seconds=found.seconds[0],
        warmup_seconds=found.seconds[0],
        memory_bytes=found.memory_bytes,
        images=found.images,
    )


@dataclass(frozen=True)
class _Role:
    """What is measured of a role."""

    calls: list[Callable[[int], object]]
    release: Callable[[], object]
    """Returns the memory of recorded steps."""


@dataclass(frozen=True)
class _Measured:
    seconds: list[float]
    memory_bytes: int
    images: int


def _measured(
    build: Callable[[int], _Role],
    batch: int,
    task: Task,
    threads: int,
    budget: float,
) -> _Measured:
    """Median seconds of each call that `build` returns for a batch, and the peak memory."""
    device, images = task.device, min(batch, _FIRST_IMAGES)
    clock, untimed = Clock(device), warm_up_calls(device, task.capture)
    with torch_threads(threads), freed_memory_kept():
        while True:
            before = forget_peak_memory(device)
            role = build(images)
            calls = role.calls
            for _ in range(untimed):  # they prepare what later ones use again
                calls[0](0)
            again = _seconds(clock, calls[0], 1)
            whole = again * (1 + _TIMES * len(calls))
            fits = min(batch, int(images * budget / whole)) if whole else batch
            if fits <= images or images < fits < min(batch, _GROWTH * images):
                break
            role.release()
            del calls, role
            images = fits
        scale = batch / images
        first = [again, *(_seconds(clock, calls[0], 1 + n) for n in range(1, _TIMES))]
        rest = [[_seconds(clock, call, n) for n in range(_TIMES)] for call in calls[1:]]
        found = [statistics.median(each) * scale for each in (first, *rest)]
        memory = int(max(peak_memory_bytes(device) - before, 0) * scale)
        role.release()
    return _Measured(found, memory, images)


def _seconds(clock: Clock, call: Callable[[int], object], number: int) -> float:
    """Seconds of one call."""
    start = clock.now()
    call(number)
    return clock.now() - start


def _noise(count: int, task: Task) -> torch.Tensor:
    randomness = torch.Generator().manual_seed(0)
    shape = (count, *task.image_shape)
    return torch.randint(256, shape, generator=randomness, dtype=torch.uint8).to(task.device)


def _fill(cache: TeacherCache, task: Task) -> None:
    """Fill a cache, so that only the usual number of views is new."""
    shape = task.kind.logits_shape(cache.capacity, task.image_shape)
    cache.insert(_noise(cache.capacity, task), torch.zeros(shape, device=task.device))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Use so many threads in torch's operations, for a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
