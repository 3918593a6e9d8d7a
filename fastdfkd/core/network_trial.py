"""Tests which changes for speed (`network_use.Change`) a given network bears.

Each change is made on a copy. The copy's logits and gradients are compared with those of the
unchanged network: for one image and for three, in eval mode and, for a student, also in train mode.
A change that raises, or that gives other values, is not made to this network.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from fastdfkd.core.answers import Output
from fastdfkd.core.frozen_logits import foldable, folded
from fastdfkd.core.fused_norm import fuse_norms, has_norms, traced
from fastdfkd.core.network_use import Change, NetworkUse
from fastdfkd.core.onednn_fault import CORRUPTION, corrupts_memory
from fastdfkd.core.precision import Precision
from fastdfkd.core.trial_results import Mode, Results, Way, difference, is_finite, results_of

log = logging.getLogger(__name__)

COUNTS = (1, 3)
"""Images of the test batches."""
EXACT = 1e-3, 1e-2
"""Largest relative differences of logits and of gradients for a change in float32."""
PROOF = 1e-6, 1e-6
"""The same in float64. It decides if a difference in float32 is larger: in float64 a difference by
rounding almost vanishes."""
ROUNDED = (0.3, 0.75)
"""The same in bfloat16, whose rounding adds up in a deep network."""
_MOST_SHOWN = 120


def find_network_use(
    network: nn.Module,
    image_shape: Sequence[int],
    *,
    output: Output = "logits",
    spatial_axes: int = 0,
    precision: Precision = "float32",
    student: bool = False,
) -> NetworkUse:
    """How to run a network that passed `network_contract`. The network is not modified.

    Args:
        network: on any device, which is also that of the test.
        image_shape: (C, H, W).
        output: what its outputs hold.
        spatial_axes: axes of the logits after the classes (`TaskKind.spatial_axes`).
        precision: precision of the run; bfloat16 is tested unless it is float32.
        student: whether the network is a student, which is tested in train mode too. Only for a
            teacher `folded_logits` is tested.
    """
    with _one_thread():
        plain = NetworkUse(output=output, spatial_axes=spatial_axes)
        return _tried(network, tuple(image_shape), plain, precision, student)


def _tried(
    network: nn.Module,
    image_shape: tuple[int, ...],
    use: NetworkUse,
    precision: Precision,
    student: bool,
) -> NetworkUse:
    trainings = (False, True) if student else (False,)
    modes = [Mode(training, images) for training in trainings for images in COUNTS]
    trial = Trial(network, image_shape, use, modes)
    use = replace(use, idle_parameters=trial.idle)
    if student and corrupts_memory(network):
        use = use.without("channels_last", CORRUPTION)
    for change, way, tolerances in _changes(network, precision, student):
        if use.bears(change):
            reason = trial.against(way(use), tolerances)
            use = use.without(change, reason) if reason else use
    return use


_Step = tuple[Change, Callable[[NetworkUse], Way], tuple[float, float]]


def _changes(network: nn.Module, precision: Precision, student: bool) -> Iterator[_Step]:
    """The tests in order. Each includes the changes that passed before."""
    yield "channels_last", lambda use: Way(use=use), EXACT
    if has_norms(network):
        yield "fused_norms", lambda use: Way(use=use, make=_fused), EXACT
    folds = not student and foldable(network)
    if folds:
        make = partial(folded, dtype=torch.float32)
        yield "folded_logits", lambda use: Way(use=use, make=make, gradients=False), EXACT
    if precision == "float32":
        return
    yield "autocast", lambda use: Way(use=use, make=use.fused, half=True), ROUNDED
    if folds:

        def in_half(use: NetworkUse) -> Way:
            make = partial(use.for_logits, dtype=torch.bfloat16)
            return Way(use=use, make=make, half=use.bears("autocast"), gradients=False)

        yield "folded_logits", in_half, ROUNDED


def _fused(network: nn.Module) -> nn.Module:
    return fuse_norms(traced(network)).eval()


class Trial:
    """A network with its results when unchanged."""

    def __init__(
        self,
        network: nn.Module,
        image_shape: tuple[int, ...],
        use: NetworkUse,
        modes: Sequence[Mode],
    ):
        self.network, self.image_shape, self.modes = network, image_shape, modes
        self.plainly = replace(use, left_out={"channels_last": "", "autocast": ""})
        self.plain = self._plain(torch.float32)
        self.proof: dict[Mode, Results] | None = None

    @property
    def idle(self) -> bool:
        """Whether a weight gets no gradient in train mode."""
        return any(answer.idle for mode, answer in self.plain.items() if mode.training)

    def against(self, way: Way, tolerances: tuple[float, float]) -> str | None:
        """Why the network cannot be run in this way; None if the results are equal."""
        if not self.plain:
            return "the unchanged network could not be tested"
        for mode, plain in self.plain.items():
            if mode.training and way.make is not None and not way.half:
                continue  # a conversion of the frozen network, which never runs in train mode
            try:
                with redirect_stderr(io.StringIO()):  # torch.fx prints errors of traced networks
                    changed = results_of(self.network, self.image_shape, way, mode)
            except Exception as error:  # a user's forward may raise anything
                return _short(error)
            reason = difference(changed, plain, mode, tolerances)
            if reason and not is_finite(changed):
                return reason
            if reason and not (self._is_chance(mode) or self._is_rounding(way, mode)):
                return reason
        return None

    def _is_chance(self, mode: Mode) -> bool:
        """Whether train mode is random (dropout): in another layout it then draws other values."""
        if not mode.training:
            return False
        way = Way(use=self.plainly)
        other = results_of(self.network, self.image_shape, way, mode, seed=1)
        return bool(difference(other, self.plain[mode], mode, PROOF))

    def _is_rounding(self, way: Way, mode: Mode) -> bool:
        """Whether the difference is due to rounding: it vanishes in float64.

        Statistics of few images amplify rounding.
        """
        if way.half:  # not possible in float64; in train mode finite results are enough
            return mode.training
        if self.proof is None:
            self.proof = self._plain(torch.float64)
        try:
            changed = results_of(
                self.network, self.image_shape, replace(way, dtype=torch.float64), mode
            )
            return not difference(changed, self.proof[mode], mode, PROOF)
        except Exception:  # the network mixes its own float32 tensors with float64 input
            return False

    def _plain(self, dtype: torch.dtype) -> dict[Mode, Results]:
        """Results of the unchanged network, in the modes that do not raise."""
        found = {}
        way = Way(use=self.plainly, dtype=dtype)
        for mode in self.modes:
            with suppress(Exception):  # BatchNorm may refuse one image in train mode
                found[mode] = results_of(self.network, self.image_shape, way, mode)
        return found


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: several are slower for a few images, much slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = lines[-1 if "TorchScript" in lines[0] else 0]  # TorchScript ends with the cause
    return line if len(line) <= _MOST_SHOWN else line[: _MOST_SHOWN - 3] + "..."
