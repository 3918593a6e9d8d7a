"""Compiles parts of a step with torch.compile where that pays.

A part is a function of tensors: the augmentation, or one network's forward pass. torch's compiler
(inductor) writes fewer, larger kernels for it, and for its backward pass. That takes from seconds
to minutes for each part, and results equal those of torch's own kernels only within rounding.

A part is therefore tried once, in its first call and with its arguments (`core/compile_trial.py`):
compiled, compared with the plain part, and timed beside it. With `auto` it stays compiled if the
calls that are left are expected to save more time than compiling took. Only calls like the first
one run compiled: of the same shapes, types and mode. Any other call runs the plain part, so nothing
is compiled twice. A part that cannot be compiled runs plainly, and a note says why.

Where steps are captured as CUDA graphs (`core/captured.py`), they contain the compiled kernels; the
compiler's own graphs are off. Compiled kernels are kept in the compiler's own folder, outside of
runs (`TORCHINDUCTOR_CACHE_DIR`), where the next process on this machine finds them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fastdfkd.core import torch_versions
from fastdfkd.core.compile_trial import CompileTrial, Timings
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.plain_layers import plain_form
from fastdfkd.core.task import Task

Function = Callable[..., Any]
log = logging.getLogger(__name__)
LEAST_SECONDS = 10.0
"""`auto` does not try a part that cannot gain so much: compiling takes longer."""
MOST_GAIN = 0.5
"""The largest share of a part's time that compiling is expected to save."""


class Compiling:
    """The parts of one role that may be compiled."""

    def __init__(self, task: Task, calls_left: Callable[[], int]):
        """Prepare the parts of a role.

        Args:
            task: says whether parts are compiled, and whether its steps are captured.
            calls_left: how often each part will still be called.
        """
        self.task, self.calls_left = task, calls_left
        self.parts: list[Compilable] = []

    @property
    def wanted(self) -> bool:
        """Whether parts are to be compiled at all."""
        return bool(self.task.compile)

    @property
    def notes(self) -> list[str]:
        """What was decided for each part that has been tried, a line each."""
        return [part.note for part in self.parts if part.note]

    def part(
        self,
        name: str,
        plain: Function,
        *,
        form: Callable[[], Function] | None = None,
        network: nn.Module | None = None,
        agree: Callable[[bool], bool] = bool,
    ) -> Function:
        """`plain`, compiled where that pays; `plain` itself if nothing is to be compiled.

        Args:
            name: of the part, in notes.
            plain: a function of tensors and None that returns one or more tensors.
            form: gives the function for the compiler, if it is not `plain`.
            network: what the part runs, if anything. A trial leaves its buffers as they were.
            agree: whether a decision is made by all workers that train together. They make the
                first call of the part together.
        """
        if not self.wanted:
            return plain
        made = Compilable(self, name, plain, form or (lambda: plain), network, agree)
        self.parts.append(made)
        return made

    def network(
        self,
        name: str,
        use: NetworkUse,
        network: nn.Module,
        agree: Callable[[bool], bool] = bool,
    ) -> Callable[[Tensor], Tensor]:
        """A part that gives a network's logits for images (B, C, H, W).

        Args:
            name: see `part`.
            use: how the network is run.
            network: in the mode in which it is called.
            agree: see `part`.
        """
        return self.part(
            name,
            use.asking(network),
            form=lambda: use.asking(plain_form(network)),
            network=network,
            agree=agree,
        )


class Compilable:
    """A part that is compiled in its first call, if that pays. Called like the part itself."""

    def __init__(
        self,
        compiling: Compiling,
        name: str,
        plain: Function,
        form: Callable[[], Function],
        network: nn.Module | None,
        agree: Callable[[bool], bool],
    ):
        self.compiling, self.name, self.plain, self.form = compiling, name, plain, form
        self.network, self.agree = network, agree
        self.kind: Any = None
        """Of the first call, which the compiled part is made for; None before it."""
        self.compiled: Function | None = None
        """The compiled part; None: all calls run the plain one."""
        self.timings: Timings | None = None
        """Of the trial, if it came to its end."""
        self.note = ""

    @property
    def stays_plain(self) -> bool:
        """Whether it was tried, or given up, and runs plainly from now on."""
        return self.kind is not None and self.compiled is None

    def __call__(self, *arguments: Any) -> Any:
        """The result of the part."""
        kind = self._kind(arguments)
        if self.kind is None:
            self.kind = kind
            self.compiled = self._tried(arguments)
            self._log()
        if self.compiled is not None and kind == self.kind:
            try:
                return self.compiled(*arguments)
            except Exception as error:  # the compiler may raise anything
                self.compiled = None
                self.note = f"{self.name} runs uncompiled from now on ({first_line(error)})"
                self._log()
        return self.plain(*arguments)

    def _log(self) -> None:
        log.info("%s", self.note)

    def _kind(self, arguments: tuple[Any, ...]) -> Any:
        """All that a compiled part depends on besides values."""
        tensors = [
            (a.shape, a.dtype, a.requires_grad) if isinstance(a, Tensor) else a for a in arguments
        ]
        training = self.network is not None and self.network.training
        return (*tensors, training, torch.is_grad_enabled(), torch.is_inference_mode_enabled())

    def _tried(self, arguments: tuple[Any, ...]) -> Function | None:
        """The compiled part if it is to be used; sets `note`."""
        task, left = self.compiling.task, self.compiling.calls_left()
        trial = CompileTrial(arguments, task.device, task.capture, self.network)
        if task.compile == "auto":
            most = MOST_GAIN * left * trial.seconds(self.plain)[0]
            if not self.agree(most >= LEAST_SECONDS):
                self.note = (
                    f"{self.name} runs uncompiled: in {left:,} calls at most {most:.2g} s could be "
                    "saved"
                )
                return None
        compiled, pays = None, False
        try:
            compiled, timings = trial.against(
                self.plain, lambda: torch_versions.compiled(self.form())
            )
            self.timings = timings
            pays = task.compile != "auto" or timings.saved(left) > timings.compile_seconds
            self.note = self._verdict(timings, left, pays)
        except Exception as error:  # likewise
            self.note = f"{self.name} runs uncompiled: it cannot be compiled ({first_line(error)})"
        if self.agree(pays):
            return compiled
        if pays:
            self.note = f"{self.name} runs uncompiled, as on another worker"
        return None

    def _verdict(self, timings: Timings, left: int, pays: bool) -> str:
        saved = timings.saved(left)
        return (
            f"{self.name} runs {'compiled' if pays else 'uncompiled'}: "
            f"{1e3 * timings.compiled_seconds:.3g} ms a call compiled, "
            f"{1e3 * timings.plain_seconds:.3g} ms not; compiling took "
            f"{timings.compile_seconds:.3g} s and {'saves' if saved > 0 else 'would cost'} about "
            f"{abs(saved):.2g} s in {left:,} calls"
        )


def first_line(error: Exception) -> str:
    """What an error says first, or its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    return line if len(line) <= _MOST_SHOWN else line[: _MOST_SHOWN - 3] + "..."


_MOST_SHOWN = 160
