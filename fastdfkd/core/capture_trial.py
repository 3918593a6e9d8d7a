"""Tests whether steps with a given network can be captured (`core/captured.py`)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastdfkd.core.captured import capture_failure
from fastdfkd.core.network_use import NetworkUse, copied
from fastdfkd.core.precision import Precision
from fastdfkd.core.random_streams import seeded_on

log = logging.getLogger(__name__)


def capturable(
    network: nn.Module,
    use: NetworkUse,
    image_shape: Sequence[int],
    device: torch.device | str,
    precision: Precision,
    notes: list[str],
) -> bool:
    """Whether steps with a network can be captured; logs the reason if they cannot.

    Args:
        network: see `capture_trouble`, as for the others.
        use: likewise.
        image_shape: likewise.
        device: likewise.
        precision: likewise.
        notes: gets a line with the reason.
    """
    reason = capture_trouble(network, use, image_shape, device, precision)
    if reason:
        notes.append(f"{type(network).__name__} runs without cuda_graphs ({reason})")
        log.warning("%s", notes[-1])
    return reason is None


def draws_random_numbers(network: nn.Module, use: NetworkUse, image_shape: Sequence[int]) -> bool:
    """Whether a network in train mode draws random numbers, as dropout does.

    Args:
        network: on its device; a copy is tested.
        use: how it is run.
        image_shape: (C, H, W).
    """
    twin = copied(network).train()
    device = next((parameter.device for parameter in twin.parameters()), torch.device("cpu"))
    noise = torch.randn(4, *image_shape, generator=torch.Generator().manual_seed(0)).to(device)

    def answer(seed: int) -> Tensor:
        with seeded_on(device, seed, "trial"), torch.no_grad():
            return use.logits(twin(use.images(noise)))

    first = answer(0)
    return not torch.allclose(first, answer(1), rtol=1e-3, atol=1e-4 * float(first.abs().max()))


def capture_trouble(
    network: nn.Module,
    use: NetworkUse,
    image_shape: Sequence[int],
    device: torch.device | str,
    precision: Precision,
) -> str | None:
    """Why steps with a network cannot be captured; None if they can.

    Args:
        network: on `device`; frozen and in eval mode, or a student in train mode, of which a copy
            is tested.
        use: how it is run.
        image_shape: (C, H, W).
        device: device of the step.
        precision: precision of the step.
    """
    twin = copied(network) if network.training else network
    device = torch.device(device)
    weights = [parameter for parameter in twin.parameters() if parameter.requires_grad]

    def step(pixels: Tensor) -> Tensor:
        pixels = pixels.clone().requires_grad_()
        with torch.enable_grad(), use.autocast(device, precision):
            logits = use.logits(twin(use.images(pixels)))
        reached = torch.autograd.grad(logits.float().sum(), [pixels, *weights], allow_unused=True)
        first = reached[0] if reached[0] is not None else pixels
        return torch.cat([logits.detach().float().reshape(-1), first.detach().float().reshape(-1)])

    noise = torch.randn(2, 3, *image_shape, generator=torch.Generator().manual_seed(0)).to(device)
    return capture_failure(step, device, noise[0], noise[1])
