"""Compiles a part of a step once, compares it with the plain part, and times both.

Every call runs the part as a step would: forward, and backward if its results have gradients. With
CUDA graphs both are timed as replays, so that time saved between launches is not counted twice.
Nothing that a run depends on changes: buffers are restored, and random numbers are drawn apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fastdfkd.core.captured import WARM_UP, Captured, captured
from fastdfkd.core.clock import Clock
from fastdfkd.core.network_trial import EXACT, ROUNDED
from fastdfkd.core.random_streams import seeded_on

TIMES = 5
"""Calls of each function that are timed, in turn."""

Function = Callable[..., Any]


@dataclass(frozen=True)
class Timings:
    """Seconds of a part."""

    compile_seconds: float
    """From the beginning to the first result, with the import of the compiler."""
    plain_seconds: float
    """Least of a call of the plain part, with its backward pass."""
    compiled_seconds: float
    """The same of the compiled part."""

    def saved(self, calls: int) -> float:
        """Seconds that compiling saves in so many calls, its own not counted."""
        return calls * (self.plain_seconds - self.compiled_seconds)


class CompileTrial:
    """A part's arguments, for which functions are compared and timed."""

    def __init__(
        self,
        arguments: Sequence[Any],
        device: torch.device | str,
        capture: bool,
        network: nn.Module | None,
    ):
        """Keep the arguments.

        Args:
            arguments: of the part: tensors, which are not changed, or None.
            device: of the tensors.
            capture: whether the part will be in CUDA graphs.
            network: what the part runs, if anything.
        """
        self.arguments, self.device, self.capture = arguments, torch.device(device), capture
        self.network = network
        self.clock = Clock(self.device)

    def against(self, plain: Function, make: Callable[[], Function]) -> tuple[Function, Timings]:
        """Compile, compare and time; returns the compiled part too.

        Args:
            plain: the part as it is.
            make: gives a function that is compiled in its first call.

        Raises:
            Exception: the compiler's, or ValueError if the results differ or cannot be captured.
        """
        with self._undisturbed():
            expected = self._once(plain)
            start = self.clock.now()
            compiled = make()
            found = self._once(compiled)
            seconds = self.clock.now() - start
        self._compare(found, expected)
        return compiled, Timings(seconds, *self.seconds(plain, compiled))

    def seconds(self, *functions: Function) -> list[float]:
        """Least seconds of a call of each function, called in turn: other work only adds to them.

        Raises:
            ValueError: the last function cannot be captured, though the first one can.
        """
        steps = [captured(self._step(each), self.device, self.capture) for each in functions]
        times: list[list[float]] = [[] for _ in steps]
        with self._undisturbed():
            for step in steps:
                for _ in range(WARM_UP + 1 if isinstance(step, Captured) else 1):
                    step(*self.arguments)
            for _ in range(TIMES):
                for step, found in zip(steps, times, strict=True):
                    start = self.clock.now()
                    step(*self.arguments)
                    found.append(self.clock.now() - start)
        failures = [step.failure for step in steps if isinstance(step, Captured)]
        for step in steps:
            if isinstance(step, Captured):
                step.release()
        if failures and failures[-1] and not failures[0]:
            raise ValueError(f"it cannot be a CUDA graph: {failures[-1]}")
        return [min(found) for found in times]

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """A block whose draws and changes of buffers are undone."""
        buffers = [] if self.network is None else list(self.network.buffers())
        before = [buffer.clone() for buffer in buffers]
        try:
            with seeded_on(self.device, 0, "compile"):
                yield
        finally:
            with torch.no_grad():
                for buffer, value in zip(buffers, before, strict=True):
                    buffer.copy_(value)

    def _once(self, function: Function) -> tuple[list[Tensor], list[Tensor]]:
        """Results and gradients of a function, from the same random numbers at each call."""
        with seeded_on(self.device, 0, "compile"):
            outputs, gradients = self._results(function, self.arguments)
        return [each.detach().clone() for each in outputs], gradients

    def _step(self, function: Function) -> Function:
        def step(*arguments: Any) -> Tensor:
            outputs, gradients = self._results(function, arguments)
            return (gradients or outputs)[0]

        return step

    def _results(
        self, function: Function, arguments: Sequence[Any]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The tensors that a function returns, and the gradients of arguments and weights."""
        leaves = [
            a.detach().requires_grad_(a.requires_grad) if isinstance(a, Tensor) else a
            for a in arguments
        ]
        found = function(*leaves)
        outputs = [found] if isinstance(found, Tensor) else list(found)
        roots = [each.float().square().mean() for each in outputs if each.requires_grad]
        if not roots:
            return outputs, []
        weights = () if self.network is None else self.network.parameters()
        every = [leaf for leaf in (*leaves, *weights) if isinstance(leaf, Tensor)]
        reached = [leaf for leaf in every if leaf.requires_grad]
        with torch.autocast(self.device.type, enabled=False):
            gradients = torch.autograd.grad(torch.stack(roots).sum(), reached, allow_unused=True)
        return outputs, [each for each in gradients if each is not None]

    def _compare(
        self,
        found: tuple[list[Tensor], list[Tensor]],
        expected: tuple[list[Tensor], list[Tensor]],
    ) -> None:
        """Check that results are equal up to rounding, and so the gradients taken together.

        A single gradient may be rounding alone, as that of a bias before a BatchNorm is.

        Raises:
            ValueError: they are not.
        """
        for ours, theirs in zip(found, expected, strict=True):
            if [each.shape for each in ours] != [each.shape for each in theirs]:
                raise ValueError("it gives other tensors when compiled")
        half = torch.is_autocast_enabled(self.device.type)
        of_results, of_gradients = ROUNDED if half else EXACT
        for mine, plain in zip(found[0], expected[0], strict=True):
            _check("results", [mine], [plain], of_results)
        _check("gradients", found[1], expected[1], of_gradients)


def _check(what: str, ours: Sequence[Tensor], theirs: Sequence[Tensor], most: float) -> None:
    by = _distance(ours, theirs)
    if not by <= most:  # NaN is not
        raise ValueError(f"its {what} differ by {by:.1%} when compiled")


def _distance(mine: Sequence[Tensor], plain: Sequence[Tensor]) -> float:
    """Relative difference of tensors as one vector; 0 if the plain values are not all finite."""
    if not plain:
        return 0.0
    ours, theirs = (torch.cat([t.double().reshape(-1) for t in each]) for each in (mine, plain))
    if not theirs.isfinite().all():
        return 0.0
    norm = torch.linalg.vector_norm
    return float(norm(ours - theirs) / norm(theirs).clamp_min(1e-12))
