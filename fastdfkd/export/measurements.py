"""Measures programs side by side: memory, seconds of a call, and what they answer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastdfkd.core.memory import forget_peak_memory, peak_memory_bytes, return_freed_memory
from fastdfkd.core.task_kind import TaskKind
from fastdfkd.export.compared_images import ComparedImages
from fastdfkd.export.deployed import example_of
from fastdfkd.export.programs import Answer, Program

BATCHES = {1: 5, 64: 1}
"""Images of a timed call, and calls in a round: short ones are disturbed more."""
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 200


def peak_memory(program: Program) -> int:
    """Most resident bytes while a program is opened and answers the largest batch.

    What the process held before is subtracted. The program runs once before, so that what its
    runtime loads once is not counted.
    """
    images = example_of(program.of.spec, "uint8", max(BATCHES))
    program.open()(images)
    return_freed_memory()
    before = forget_peak_memory()
    program.open()(images)
    return max(peak_memory_bytes() - before, 0)


def call_seconds(
    programs: Sequence[Program], answers: Sequence[Answer], seconds: float
) -> tuple[list[dict[int, float]], int]:
    """Median seconds of a call of each program, by the number of its images; and the rounds.

    In each round every program answers every batch (`BATCHES`), so that what else the machine does
    reaches all of them alike. The first round is not counted.

    Args:
        programs: to measure.
        answers: each of them opened.
        seconds: how long to measure, roughly; at least three rounds are made.
    """
    examples = [
        {count: example_of(each.of.spec, "uint8", count) for count in BATCHES} for each in programs
    ]
    times: list[dict[int, list[float]]] = [{count: [] for count in BATCHES} for _ in programs]
    began, rounds = time.perf_counter(), -1
    while rounds < _LEAST_ROUNDS or (
        rounds < _MOST_ROUNDS and time.perf_counter() - began < seconds
    ):
        for answer, images, found in zip(answers, examples, times, strict=True):
            for count, calls in BATCHES.items():
                for _ in range(calls):
                    started = time.perf_counter()
                    answer(images[count])
                    found[count].append(time.perf_counter() - started)
        rounds += 1
    medians = [
        {count: statistics.median(each[BATCHES[count] :]) for count, each in found.items()}
        for found in times
    ]
    return medians, rounds


@dataclass(frozen=True)
class Answered:
    """A program's classes for all images, and its figures."""

    classes: list[Tensor]
    """(B, *space) int64 of each batch."""
    figures: dict[str, float]
    """The task's, 0 to 1; empty without labels."""

    @classmethod
    def of(
        cls, program: Program, answer: Answer, images: ComparedImages, kind: TaskKind
    ) -> Answered:
        """Let a program answer all images."""
        classes, counts = [], []
        for batch, labels in images.sized(program.of.spec):
            logits = answer(batch)
            classes.append(logits.argmax(1))
            if labels is not None:
                counts.append(kind.counts(logits, labels))
        return cls(classes, kind.figures_of(torch.stack(counts).sum(0)) if counts else {})

    def agreement(self, other: Answered) -> float:
        """Share of images, or pixels, that both assign to the same class, 0 to 1."""
        pairs = list(zip(self.classes, other.classes, strict=True))
        same = sum(int((first == second).sum()) for first, second in pairs)
        return same / sum(first.numel() for first, _ in pairs)
