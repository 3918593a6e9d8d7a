"""What a network computes when it is run in a given way, and how two such results differ.

`network_trial` compares the results of a changed network with those of the unchanged one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.fused_norm import recording
from fastdfkd.core.network_use import NetworkUse, copied, freeze


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


class Results(NamedTuple):
    """Results of a network in one mode."""

    logits: Tensor
    """(B, K, *space) float64."""
    gradients: Tensor
    """For pixels and weights, flattened into one float64 vector; empty without gradients."""
    idle: bool
    """Whether a weight got no gradient."""


def results_of(
    network: nn.Module, image_shape: Sequence[int], way: Way, mode: Mode, seed: int = 0
) -> Results:
    """Results of a copy of the network for random images.

    Args:
        network: is not modified.
        image_shape: (C, H, W).
        way: how the copy is run.
        mode: train or eval mode, and the number of images.
        seed: of dropout and the like.
    """
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
            return Results(logits.double(), logits.new_zeros(0), False)
        trained = [parameter for parameter in twin.parameters() if parameter.requires_grad]
        # Inside the block, as in a step: a checkpointed network runs its forward again here.
        reached = torch.autograd.grad(loss, [pixels, *trained], allow_unused=True)
    rows = [gradient.double().reshape(-1) for gradient in reached if gradient is not None]
    return Results(logits.detach().double(), torch.cat(rows), None in reached)


@contextmanager
def _draws(device: torch.device, seed: int) -> Iterator[None]:
    """Seed dropout and the like, without changing the caller's random state."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def is_finite(results: Results) -> bool:
    """Whether logits and gradients are all finite."""
    return bool(torch.isfinite(results.logits).all() and torch.isfinite(results.gradients).all())


def difference(
    changed: Results, plain: Results, mode: Mode, tolerances: tuple[float, float]
) -> str | None:
    """What differs by more than the tolerances; None if nothing does.

    Args:
        changed: of a network that is run in another way.
        plain: of the unchanged network. Where they are not finite, nothing is compared.
        mode: of both.
        tolerances: largest relative differences of logits and of gradients.
    """
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
