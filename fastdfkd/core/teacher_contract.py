"""What a teacher must be, checked before anything is synthesised from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from fastdfkd.core.bn_statistics import batch_norm_layers


def check_teacher(
    teacher: nn.Module, image_shape: Sequence[int], num_classes: int, bn: float = 0.0
) -> None:
    """Refuse a teacher that the method cannot learn from. Leaves the model as it was.

    Args:
        teacher: maps (B, C, H, W) float images to (B, num_classes) logits.
        image_shape: (C, H, W).
        num_classes: classes of the data set.
        bn: weight of the BatchNorm-statistics loss.

    Raises:
        ValueError: no BatchNorm statistics while `bn` > 0, another output than logits of
            `num_classes`, or values that are not finite. The message says what to do.
    """
    if bn > 0 and not batch_norm_layers(teacher):
        raise ValueError(
            f"synthesis.bn is {bn}, but the teacher {type(teacher).__name__} has no BatchNorm "
            "layer with running statistics, so that loss would be zero: set synthesis.bn to 0, "
            "or use a teacher with BatchNorm (track_running_stats=True)"
        )
    bad = [name for name, tensor in teacher.state_dict().items() if not _finite(tensor)]
    if bad:
        raise ValueError(
            f"the teacher's weights are not finite ({', '.join(bad[:3])}): the file is damaged "
            "or its training diverged; use other weights"
        )
    parameter = next(teacher.parameters(), torch.zeros(()))
    noise = torch.randn(2, *image_shape, generator=torch.Generator().manual_seed(0))
    training = {module: module.training for module in teacher.modules()}
    teacher.eval()
    try:
        with torch.inference_mode():
            logits = teacher(noise.to(parameter.device, parameter.dtype))
    except Exception as error:  # whatever a stranger's forward raises
        raise ValueError(
            f"the teacher cannot read images of shape {tuple(image_shape)}: {error}"
        ) from error
    finally:
        for module, mode in training.items():
            module.training = mode
    if not isinstance(logits, torch.Tensor):
        raise ValueError(
            f"the teacher returns {type(logits).__name__}, expected logits as one tensor: wrap it "
            "in a module whose forward returns the logits alone"
        )
    if logits.shape != (2, num_classes):
        raise ValueError(
            f"the teacher returns {tuple(logits.shape)} for 2 images, expected (2, {num_classes}): "
            f"the data set has {num_classes} classes; give the teacher that many outputs or "
            "change data.name"
        )
    if not torch.isfinite(logits).all():
        raise ValueError(
            "the teacher returns NaN or infinity for random images: its weights or BatchNorm "
            "statistics are damaged; check them on real images, or use other weights"
        )


def _finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
