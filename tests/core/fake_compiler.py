"""A stand-in for torch's compiler, which is slow, and for the seconds of a trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fastdfkd.core import torch_versions
from fastdfkd.core.compile_trial import CompileTrial, Timings


class Compiler:
    """Stands in for torch's compiler: it gives the function itself, or raises, and counts."""

    def __init__(self) -> None:
        self.made: list[Callable[..., Any]] = []
        self.calls = 0
        self.change: Callable[[Any], Any] = lambda found: found
        """What is wrong with its results."""

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.made.append(function)

        def run(*arguments: Any) -> Any:
            self.calls += 1
            return self.change(function(*arguments))

        return run


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    made = Compiler()
    monkeypatch.setattr(torch_versions, "compiled", made)
    return made


@pytest.fixture
def timings(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of a plain and of a compiled call, and of compiling."""
    found = [1.0, 0.5, 100.0]

    def seconds(_: CompileTrial, *functions: Any) -> list[float]:
        return found[: len(functions)]

    against = CompileTrial.against

    def timed(self: CompileTrial, plain: Any, make: Any) -> tuple[Any, Timings]:
        made, of_trial = against(self, plain, make)
        return made, replace(of_trial, compile_seconds=found[2])

    monkeypatch.setattr(CompileTrial, "seconds", seconds)
    monkeypatch.setattr(CompileTrial, "against", timed)
    return found
