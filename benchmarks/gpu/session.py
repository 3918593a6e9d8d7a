"""Parts of a measurement in order of importance, each written when it is finished, in a budget.

The clock is wall time, because a GPU machine is lent by the minute. A part starts only if enough of
the budget is left, and an alarm ends one that takes longer. What was written before stays.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

Record = dict[str, Any]


class BudgetSpentError(BaseException):
    """The budget is spent. No `Exception`: trials of networks catch those."""


class Budget:
    """Seconds of wall time from now on."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic):
        self.now, self.end = now, now() + seconds

    @property
    def left(self) -> float:
        """Seconds left; negative once it is spent."""
        return self.end - self.now()

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Raise `BudgetSpentError` in the block when the budget is spent. Main thread only."""

        def ring(_number: int, _frame: FrameType | None) -> None:
            raise BudgetSpentError

        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, max(self.left, 1e-3))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the parts of a look at a card share."""

    device: torch.device
    budget: Budget
    out: Path
    pair: str
    """`teacher/student`, the networks that are measured first."""
    repeats: int = 3
    images: Path | None = None
    """Folder with the JPEG copy of CIFAR-10 and a teacher's weights."""
    peaks: dict[str, float] = field(default_factory=dict)
    """FLOP/s of a matrix product, by precision; the first part fills it."""

    @property
    def small(self) -> bool:
        """Whether batches are small because there is no GPU."""
        return self.device.type == "cpu"

    def write(self, name: str, record: Record, text: str) -> None:
        """Write a part's record and its Markdown, and print where."""
        self.out.mkdir(parents=True, exist_ok=True)
        content = json.dumps(record, indent=1, default=str) + "\n"
        (self.out / f"{name}.json").write_text(content, encoding="utf-8")
        (self.out / f"{name}.md").write_text(text.rstrip() + "\n", encoding="utf-8")
        print(f"{name}: written, {self.budget.left:.0f} s left", flush=True)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a look at a card."""

    name: str
    run: Callable[[Look], str]
    """Measures, writes with `Look.write` as results come, and returns one line about them."""
    least_s: float
    """Seconds without which it is not started."""
    missing: Callable[[Look], str] = lambda _: ""
    """Why the part cannot run here; "" if it can."""


def run_parts(look: Look, parts: Sequence[Part]) -> list[Record]:
    """Run the parts in order until the budget is spent; write and return the list of outcomes.

    A part that fails does not end the look: its error is its outcome.
    """
    outcomes: list[Record] = []
    for part in parts:
        began = look.budget.now()
        outcome = _outcome(look, part)
        outcomes.append(
            {"part": part.name, "outcome": outcome, "seconds": look.budget.now() - began}
        )
        print(f"{part.name}: {outcome}", flush=True)
        look.write("summary", {"parts": outcomes}, summary(outcomes))
    return outcomes


def _outcome(look: Look, part: Part) -> str:
    if reason := part.missing(look):
        return f"not measured: {reason}"
    if look.budget.left < part.least_s:
        return f"not measured: {max(look.budget.left, 0):.0f} s left, it needs {part.least_s:.0f}"
    try:
        with look.budget.enforced():
            return part.run(look)
    except BudgetSpentError:
        return "the budget ended it; what is written was measured"
    except Exception as error:  # one that does not fit the card must not hide the others
        if look.device.type == "cuda":
            torch.cuda.empty_cache()
        return f"failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def summary(outcomes: Sequence[Record]) -> str:
    """The outcomes as Markdown."""
    lines = ["# A look at a card", "", "| part | seconds | outcome |", "|---|---|---|"]
    lines += [f"| {o['part']} | {o['seconds']:.1f} | {o['outcome']} |" for o in outcomes]
    return "\n".join(lines)
