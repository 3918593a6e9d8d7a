"""Tries on somebody's network what is done to every network, before anything is made from it.

Each change of `NetworkUse` is made on a copy. The copy's answers and gradients are compared with
those of the plain network: for one image and for several, in eval mode and, for a student, in train
mode too. A change that fails, or that gives other answers, is left out for this network.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fastdfkd.core.answers import Output
from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.frozen_logits import foldable, folded
from fastdfkd.core.fused_norm import fuse_norms, has_norms, recording, traced
from fastdfkd.core.network_use import Change, NetworkUse, copied, freeze
from fastdfkd.core.onednn_fault import CORRUPTION, corrupts_memory
from fastdfkd.core.precision import Precision

log = logging.getLogger(__name__)

COUNTS = (1, 3)
"""Images of the batches that are tried."""
EXACT = 1e-3, 1e-2
"""Largest relative differences of logits and gradients for a change that keeps the arithmetic."""
PROOF = 1e-6, 1e-6
"""The same in float64, which decides about what is larger: there rounding shrinks."""
ROUNDED = (0.3, 0.75)
"""The same for bfloat16, which costs a deep network some digits."""
_MOST_SHOWN = 120


class Mode(NamedTuple):
    """How a network is called."""

    training: bool
    images: int
    """Of the batch."""

    def __str__(self) -> str:
        images = "one image" if self.images == 1 else f"{self.images} images"
        return f"{images} in {'train' if self.training else 'eval'} mode"


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of running a network."""

    use: NetworkUse
    dtype: torch.dtype = torch.float32
    """Of weights and images."""
    make: Callable[[nn.Module], nn.Module] | None = None
    """Makes what runs from the frozen network, in eval mode."""
    half: bool = False
    """Under bfloat16 autocast."""
    gradients: bool = True


class Answer(NamedTuple):
    """What a network gave in one mode."""

    logits: Tensor
    """(B, K, *space) float64."""
    gradients: Tensor
    """Towards pixels and weights, in one row of float64; empty where none were asked for."""
    idle: bool
    """Whether some weights got no gradient."""


def tried(
    network: nn.Module,
    image_shape: Sequence[int],
    *,
    output: Output = "logits",
    spatial_axes: int = 0,
    precision: Precision = "float32",
    student: bool = False,
) -> NetworkUse:
    """How a network can be used. It passed `network_contract`; it is not altered.

    Args:
        network: on any device; the trial is made there.
        image_shape: (C, H, W).
        output: what its answers are.
        spatial_axes: axes of the logits after the classes (`TaskKind.spatial_axes`).
        precision: of the run; bfloat16 is tried unless it is float32.
        student: whether it is used in train mode too. Only a teacher is asked for logits alone.
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
    """What is tried, in order; each way builds on the changes that were borne before."""
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
    """One network, and what it answers as it is."""

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
        self.proof: dict[Mode, Answer] | None = None

    @property
    def idle(self) -> bool:
        """Whether training gives some weights no gradient."""
        return any(answer.idle for mode, answer in self.plain.items() if mode.training)

    def against(self, way: Way, tolerances: tuple[float, float]) -> str | None:
        """Why a way of running the network is not taken; None where it answers as it is."""
        if not self.plain:
            return "the network as it is could not be tried"
        for mode, plain in self.plain.items():
            if mode.training and way.make is not None and not way.half:
                continue  # made from the frozen network, which is never in train mode
            try:
                with redirect_stderr(io.StringIO()):  # torch.fx prints what a traced network raises
                    changed = _answer(self.network, self.image_shape, way, mode)
            except Exception as error:  # whatever a stranger's forward raises
                return _short(error)
            reason = _difference(changed, plain, mode, tolerances)
            if reason and not _finite(changed):
                return reason
            if reason and not (self._is_chance(mode) or self._is_rounding(way, mode)):
                return reason
        return None

    def _is_chance(self, mode: Mode) -> bool:
        """Whether train mode draws at random (dropout): another layout then draws otherwise."""
        if not mode.training:
            return False
        way = Way(use=self.plainly)
        other = _answer(self.network, self.image_shape, way, mode, seed=1)
        return bool(_difference(other, self.plain[mode], mode, PROOF))

    def _is_rounding(self, way: Way, mode: Mode) -> bool:
        """Whether float64 shows no difference. Statistics of few images blow rounding up."""
        if way.half:  # has no such proof; what matters in train mode is that it works
            return mode.training
        if self.proof is None:
            self.proof = self._plain(torch.float64)
        try:
            changed = _answer(
                self.network, self.image_shape, replace(way, dtype=torch.float64), mode
            )
            return not _difference(changed, self.proof[mode], mode, PROOF)
        except Exception:  # a network that mixes float32 tensors of its own into what comes
            return False

    def _plain(self, dtype: torch.dtype) -> dict[Mode, Answer]:
        """In the modes in which it answers: not of one image in train mode, say."""
        found = {}
        way = Way(use=self.plainly, dtype=dtype)
        for mode in self.modes:
            with suppress(Exception):  # so it is not used in that mode either
                found[mode] = _answer(self.network, self.image_shape, way, mode)
        return found


def _answer(
    network: nn.Module, image_shape: Sequence[int], way: Way, mode: Mode, seed: int = 0
) -> Answer:
    """What a copy of the network gives; `seed` is that of its own draws."""
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    twin = way.use.placed(copied(network).to(way.dtype), device)
    twin = twin.train() if mode.training else freeze(twin)
    runs = way.make(twin) if way.make and not mode.training else twin
    randomness = torch.Generator().manual_seed(mode.images)
    noise = torch.randn(mode.images, *image_shape, generator=randomness)
    pixels = noise.to(device, way.dtype).requires_grad_(way.gradients)
    statistics = BatchNormStatistics(twin)
    with (
        _draws(device, seed),
        torch.set_grad_enabled(way.gradients),
        statistics.watching(),
        recording(runs, statistics.record),
    ):
        with torch.autocast(device.type, torch.bfloat16, enabled=way.half):
            logits = way.use.logits(runs(way.use.images(pixels * 1)))
        weights = torch.randn(logits.shape, generator=randomness).to(logits)
        loss = (logits * weights).sum().double()
        if statistics.newest and not mode.training:
            loss = loss + statistics.loss()
        if not way.gradients:
            return Answer(logits.double(), logits.new_zeros(0), False)
        trained = [parameter for parameter in twin.parameters() if parameter.requires_grad]
        # Still watched, as in a step: a checkpointed network runs its forward again.
        reached = torch.autograd.grad(loss, [pixels, *trained], allow_unused=True)
    rows = [gradient.double().reshape(-1) for gradient in reached if gradient is not None]
    return Answer(logits.detach().double(), torch.cat(rows), None in reached)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Batches of a few images are slower on several threads, on a busy machine by far."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _draws(device: torch.device, seed: int) -> Iterator[None]:
    """Dropout and the like draw the same in every trial, and nothing of the caller's stream."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _finite(answer: Answer) -> bool:
    return bool(torch.isfinite(answer.logits).all() and torch.isfinite(answer.gradients).all())


def _difference(
    changed: Answer, plain: Answer, mode: Mode, tolerances: tuple[float, float]
) -> str | None:
    """What differs by more than is tolerated."""
    for what, most in zip(("logits", "gradients"), tolerances, strict=True):
        ours, theirs = getattr(changed, what), getattr(plain, what)
        if not len(ours) or not torch.isfinite(theirs).all():
            continue
        if ours.shape != theirs.shape:
            return f"{what} of {mode} have the shape {tuple(ours.shape)}, not {tuple(theirs.shape)}"
        if not torch.isfinite(ours).all():
            return f"{what} of {mode} are NaN or infinite"
        norm = torch.linalg.vector_norm
        difference = float(norm(ours - theirs) / norm(theirs).clamp_min(1e-12))
        if difference > most:
            return f"{what} of {mode} differ by {difference:.1%}"
    return None


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = lines[-1 if "TorchScript" in lines[0] else 0]  # which ends with the cause
    return line if len(line) <= _MOST_SHOWN else line[: _MOST_SHOWN - 3] + "..."
