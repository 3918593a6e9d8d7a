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
"""Images of the test batches."""
EXACT = 1e-3, 1e-2
"""Largest relative differences of logits and of gradients for a change in float32."""
PROOF = 1e-6, 1e-6
"""The same in float64. It decides if a difference in float32 is larger: in float64 a difference by
rounding almost vanishes."""
ROUNDED = (0.3, 0.75)
"""The same in bfloat16, whose rounding adds up in a deep network."""
_MOST_SHOWN = 120


class Mode(NamedTuple):
    """Train or eval mode, and the size of the batch."""

    training: bool
    images: int
    """Images of the batch."""

    def __str__(self) -> str:
        images = "one image" if self.images == 1 else f"{self.images} images"
        return f"{images} in {'train' if self.training else 'eval'} mode"


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to run a network."""

    use: NetworkUse
    dtype: torch.dtype = torch.float32
    """Type of weights and images."""
    make: Callable[[nn.Module], nn.Module] | None = None
    """Converts the frozen network before it runs in eval mode; None: no conversion."""
    half: bool = False
    """Run under bfloat16 autocast."""
    gradients: bool = True
    """Compare gradients too."""


class Answer(NamedTuple):
    """Results of a network in one mode."""

    logits: Tensor
    """(B, K, *space) float64."""
    gradients: Tensor
    """For pixels and weights, flattened into one float64 vector; empty without gradients."""
    idle: bool
    """Whether a weight got no gradient."""


def tried(
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
        self.proof: dict[Mode, Answer] | None = None

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
                    changed = _answer(self.network, self.image_shape, way, mode)
            except Exception as error:  # a user's forward may raise anything
                return _short(error)
            reason = _difference(changed, plain, mode, tolerances)
            if reason and not _finite(changed):
                return reason
            if reason and not (self._is_chance(mode) or self._is_rounding(way, mode)):
                return reason
        return None

    def _is_chance(self, mode: Mode) -> bool:
        """Whether train mode is random (dropout): in another layout it then draws other values."""
        if not mode.training:
            return False
        way = Way(use=self.plainly)
        other = _answer(self.network, self.image_shape, way, mode, seed=1)
        return bool(_difference(other, self.plain[mode], mode, PROOF))

    def _is_rounding(self, way: Way, mode: Mode) -> bool:
        """Whether the difference is due to rounding: it vanishes in float64.

        Statistics of few images amplify rounding.
        """
        if way.half:  # not possible in float64; in train mode finite results are enough
            return mode.training
        if self.proof is None:
            self.proof = self._plain(torch.float64)
        try:
            changed = _answer(
                self.network, self.image_shape, replace(way, dtype=torch.float64), mode
            )
            return not _difference(changed, self.proof[mode], mode, PROOF)
        except Exception:  # the network mixes its own float32 tensors with float64 input
            return False

    def _plain(self, dtype: torch.dtype) -> dict[Mode, Answer]:
        """Results of the unchanged network, in the modes that do not raise."""
        found = {}
        way = Way(use=self.plainly, dtype=dtype)
        for mode in self.modes:
            with suppress(Exception):  # BatchNorm may refuse one image in train mode
                found[mode] = _answer(self.network, self.image_shape, way, mode)
        return found


def _answer(
    network: nn.Module, image_shape: Sequence[int], way: Way, mode: Mode, seed: int = 0
) -> Answer:
    """Results of a copy of the network; `seed` is that of its dropout and the like."""
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
        # Inside the block, as in a step: a checkpointed network runs its forward again here.
        reached = torch.autograd.grad(loss, [pixels, *trained], allow_unused=True)
    rows = [gradient.double().reshape(-1) for gradient in reached if gradient is not None]
    return Answer(logits.detach().double(), torch.cat(rows), None in reached)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: several are slower for a few images, much slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _draws(device: torch.device, seed: int) -> Iterator[None]:
    """Seed dropout and the like, without changing the caller's random state."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _finite(answer: Answer) -> bool:
    return bool(torch.isfinite(answer.logits).all() and torch.isfinite(answer.gradients).all())


def _difference(
    changed: Answer, plain: Answer, mode: Mode, tolerances: tuple[float, float]
) -> str | None:
    """What differs by more than the tolerances; None if nothing does."""
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
    line = lines[-1 if "TorchScript" in lines[0] else 0]  # TorchScript ends with the cause
    return line if len(line) <= _MOST_SHOWN else line[: _MOST_SHOWN - 3] + "..."
