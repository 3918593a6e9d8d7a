"""How good a network is on real, held-out images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fastdfkd.core.answers import Output, logits_in


def predict(
    model: nn.Module,
    images: Tensor,
    normalise: Callable[[Tensor], Tensor],
    device: torch.device | str,
    batch_size: int = 500,
    *,
    output: Output = "logits",
) -> Tensor:
    """The likeliest class of each image, in eval mode, without touching the model's state.

    Args:
        model: on `device`; maps normalised images (B, C, H, W) to answers of `output`.
        images: (N, C, H, W) uint8, on any device.
        normalise: what the model expects, from float images (B, C, H, W) in 0..1 on `device`.
        device: where the model is.
        batch_size: images of one forward pass.
        output: what the model's answers are.

    Returns:
        (N,) int64, on the CPU.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            classes = [
                logits_in(model(normalise(batch.to(device).float() / 255)), output).argmax(1)
                for batch in torch.split(images, batch_size)
            ]
    finally:
        for module, mode in modes.items():
            module.training = mode
    return torch.cat(classes).cpu()


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    """Share of right predictions, 0..1. Both (N,) integers.

    Raises:
        ValueError: there are none, or not one prediction for each label.
    """
    if predictions.shape != labels.shape or not len(labels):
        raise ValueError(
            "expected one prediction for each of at least one label, "
            f"got {tuple(predictions.shape)} and {tuple(labels.shape)}"
        )
    return (predictions.cpu() == labels.cpu()).double().mean().item()


def agreement(first: Tensor, second: Tensor) -> float:
    """Share of images that two networks put in the same class, 0..1. Both (N,) integers."""
    return accuracy(first, second)
