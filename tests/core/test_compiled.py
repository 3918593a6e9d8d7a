"""Parts of a step are compiled where a trial says that it pays. torch's compiler itself is slow.

Most tests put a stand-in in its place; `test_compiler.py` uses the compiler.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastdfkd.core import compile_trial, compiled, torch_versions
from fastdfkd.core.captured import Captured
from fastdfkd.core.compile_trial import CompileTrial
from fastdfkd.core.compiled import Compilable, Compiling

from . import parts
from .fake_compiler import Compiler, compiler, timings
from .replays import device

__all__ = ["compiler", "device", "timings"]

CALLS = 1_000


def part(plain: Callable[..., Any], wish: Any = True, left: int = CALLS, **more: Any) -> Compilable:
    made = Compiling(parts.task(compile=wish), lambda: left).part("the part", plain, **more)
    assert isinstance(made, Compilable)
    return made


def double(x: Tensor) -> Tensor:
    return 2 * x


def test_unless_wanted_a_part_is_itself() -> None:
    compiling = Compiling(parts.task(), lambda: CALLS)
    assert compiling.part("the part", double) is double
    assert not compiling.parts


def test_it_is_compiled_once_and_only_for_calls_like_the_first(compiler: Compiler) -> None:
    doubled = part(double)
    x = torch.ones(3)
    for _ in range(3):
        assert doubled(x).tolist() == [2, 2, 2]
    before = compiler.calls
    for other in (torch.ones(4), torch.ones(3).double(), torch.ones(3, requires_grad=True)):
        assert torch.equal(doubled(other), 2 * other)
    with torch.no_grad():
        doubled(x)
    assert (len(compiler.made), compiler.calls) == (1, before)
    doubled(x)
    assert compiler.calls == before + 1


def test_the_mode_of_a_network_counts(compiler: Compiler) -> None:
    student = parts.student().train()
    ask = part(student, network=student)
    images = torch.randn(4, *parts.IMAGE_SHAPE)
    ask(images)
    before = compiler.calls
    student.eval()
    ask(images)
    assert compiler.calls == before


@pytest.mark.parametrize(
    ("seconds", "left", "pays"),
    [
        ((1.0, 0.5, 100.0), 201, True),
        ((1.0, 0.5, 100.0), 199, False),
        ((1.0, 1.1, 1.0), CALLS, False),
    ],
    ids=["saves more", "saves less", "is slower"],
)
def test_auto_keeps_what_saves_more_than_compiling_took(
    compiler: Compiler,
    timings: list[float],
    seconds: tuple[float, float, float],
    left: int,
    pays: bool,
) -> None:
    timings[:] = seconds
    doubled = part(double, "auto", left)
    doubled(torch.ones(3))
    assert len(compiler.made) == 1
    assert (doubled.compiled is not None, doubled.stays_plain) == (pays, not pays)
    plain, compiled_ms, took = 1e3 * seconds[0], 1e3 * seconds[1], seconds[2]
    assert f"runs {'compiled' if pays else 'uncompiled'}: {compiled_ms:.3g} ms" in doubled.note
    assert f"{plain:.3g} ms not; compiling took {took:.3g} s" in doubled.note
    assert ("would cost" in doubled.note) == (seconds[1] > seconds[0])


def test_on_keeps_it_even_if_that_does_not_pay(compiler: Compiler, timings: list[float]) -> None:
    timings[:] = [1.0, 1.1, 100.0]
    doubled = part(double, True, 1)
    doubled(torch.ones(3))
    assert doubled.compiled is not None
    assert "runs compiled" in doubled.note


def test_auto_does_not_try_what_cannot_pay(compiler: Compiler, timings: list[float]) -> None:
    timings[0] = 1.0
    left = int(compiled.LEAST_SECONDS / compiled.MOST_GAIN) - 1
    doubled = part(double, "auto", left)
    assert doubled(torch.ones(3)).tolist() == [2, 2, 2]
    assert not compiler.made
    assert f"in {left} calls at most" in doubled.note


def fails(_: Any) -> Any:
    raise RuntimeError("no C++ compiler was found\nwith its whole story")


WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "it raises": (fails, "it cannot be compiled (no C++ compiler was found)"),
    "other values": (lambda found: 1.1 * found, "its results differ by 10.0% when compiled"),
    "not a number": (lambda found: found * torch.nan, "its results differ by nan% when compiled"),
    "another shape": (lambda found: found[:1], "it gives other tensors when compiled"),
    "no gradient": (lambda found: found.detach(), "it gives other tensors when compiled"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_compiled_runs_plainly(compiler: Compiler, what: str) -> None:
    compiler.change, reason = WRONG[what]
    doubled = part(double)
    x = torch.ones(3, requires_grad=True)
    for _ in range(2):
        assert doubled(x).tolist() == [2, 2, 2]
    assert len(compiler.made) == 1
    assert doubled.stays_plain
    assert reason in doubled.note


def test_a_gradient_that_is_rounding_alone_may_differ() -> None:
    one = torch.ones(3, requires_grad=True)
    trial = CompileTrial((one, one), "cpu", False, None)

    def made(factor: float) -> Callable[..., Tensor]:
        return lambda x, y: 1e3 * x + factor * y

    trial.against(made(1e-6), lambda: made(2e-6))
    with pytest.raises(ValueError, match="gradients differ by 35"):
        trial.against(lambda x, y: x * y, lambda: lambda x, y: x * (y.detach() + y) / 2)


def test_a_compiled_part_that_raises_later_is_given_up(compiler: Compiler) -> None:
    doubled = part(double)
    doubled(torch.ones(3))
    compiler.change = fails
    assert doubled(torch.full((3,), 2.0)).tolist() == [4, 4, 4]
    compiler.change = lambda found: found + 1
    assert doubled(torch.ones(3)).tolist() == [2, 2, 2]
    assert doubled.note == "the part runs uncompiled from now on (no C++ compiler was found)"


@pytest.mark.parametrize("wish", [True, "auto"])
def test_workers_decide_together(compiler: Compiler, timings: list[float], wish: Any) -> None:
    """As on a worker whose part pays, beside another one's that does not."""
    answers = iter([True, False] if wish == "auto" else [False])
    asked: list[bool] = []

    def agree(mine: bool) -> bool:
        asked.append(mine)
        return next(answers)

    doubled = part(double, wish, agree=agree)
    doubled(torch.ones(3))
    assert asked == [True] * (2 if wish == "auto" else 1)
    assert doubled.note == "the part runs uncompiled, as on another worker"


def test_a_trial_changes_nothing(compiler: Compiler) -> None:
    student = nn.Sequential(parts.student(), nn.Dropout(0.5)).train()
    ask = part(student, network=student)
    kept = [buffer.clone() for buffer in student.buffers()]
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    images = torch.randn(4, *parts.IMAGE_SHAPE, generator=torch.Generator().manual_seed(0))
    compiler.change = fails  # so that the only call besides the trial's is the plain one below
    trial = CompileTrial((images,), "cpu", False, student)
    trial.seconds(student, student)
    with pytest.raises(RuntimeError, match="no C"):
        trial.against(student, lambda: compiler(student))
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(a, b) for a, b in zip(student.buffers(), kept, strict=True))
    assert all(parameter.grad is None for parameter in student.parameters())
    assert ask.kind is None


def test_a_trial_compares_the_same_draws(compiler: Compiler) -> None:
    dropped = nn.Dropout(0.5).train()
    ask = part(dropped, network=dropped)
    ask(torch.ones(100))
    assert ask.compiled is not None


def test_with_graphs_both_are_timed_as_replays(
    compiler: Compiler, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Any] = []
    make = compile_trial.captured

    def seen(*arguments: Any) -> Any:
        steps.append(make(*arguments))
        return steps[-1]

    monkeypatch.setattr(compile_trial, "captured", seen)
    x = torch.ones(3, device=device)
    trial = CompileTrial((x,), device, True, None)
    trial.against(double, lambda: compiler(double))
    assert len(steps) == 2
    assert all(isinstance(step, Captured) and not step.failure for step in steps)
    assert not any(step.recordings for step in steps), "their memory is returned"


@pytest.mark.slow  # imports the compiler
def test_each_part_has_a_code_object_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler counts what it compiled by code object, and stops at a limit."""
    seen = []

    def compile(function: Any, **_: Any) -> Any:
        seen.append(function.__code__)
        return function

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    for function in (double, torch.neg):
        assert torch.equal(
            torch_versions.compiled(function)(torch.ones(2)), function(torch.ones(2))
        )
    assert all(a is not b for a, b in itertools.combinations(seen, 2))
