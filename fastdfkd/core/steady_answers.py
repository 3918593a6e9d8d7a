"""Finds networks whose answer for an image depends on more than the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastdfkd.core.network_use import NetworkUse, copied

IMAGES = 3
"""Images of the test batch."""
LIMIT = 1e-2
"""Largest relative difference of logits that rounding explains."""


def unsteady_answers(network: nn.Module, use: NetworkUse, image_shape: Sequence[int]) -> str:
    """What the logits for an image depend on besides the image, in eval mode; "" if on nothing.

    Random images are answered twice together, and one of them alone.

    Args:
        network: it is not modified.
        use: how it is run.
        image_shape: (C, H, W).
    """
    twin = copied(network).eval()
    like = next(twin.parameters(), torch.zeros(()))
    noise = torch.randn(IMAGES, *image_shape, generator=torch.Generator().manual_seed(0))
    images = noise.to(like.device, like.dtype)
    devices = [like.device] if like.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        first, again, alone = (
            use.logits(twin(batch.clone())).clone() for batch in (images, images, images[:1])
        )
    if (apart := _apart(again, first)) > LIMIT:
        return (
            f"its logits for the same images differ by {apart:.1%} from one call to the next, "
            "because its forward draws random numbers or keeps a state, in eval mode too: every "
            "figure of it holds for one call only"
        )
    if (apart := _apart(alone, first[:1])) > LIMIT:
        return (
            f"its logits for an image differ by {apart:.1%} if the image is alone in its batch, "
            "because it normalises by the batch (track_running_stats=False, or train mode that "
            "eval() does not end): its figures depend on the size of the batches"
        )
    return ""


def _apart(logits: Tensor, others: Tensor) -> float:
    """Norm of the difference, relative to that of `others`."""
    norm = torch.linalg.vector_norm
    return float(norm(logits - others) / norm(others).clamp_min(1e-12))
