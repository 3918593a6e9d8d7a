"""Attention transfer: the student's maps should be bright where the teacher's are.

    L_att = sum over stages of mean (Q_T - Q_S)^2

Q is a map's mean square over channels, flattened and divided by its L2 norm (the attention term of
ZSKT, arXiv 1905.09768, with the maps of arXiv 1612.03928). A stage is a spatial size that both
networks have between the image and the logits. Its map is the last one of that size that a module
of the network returns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, int]


class StageMaps:
    """Finds and keeps the attention maps Q of a network's stages."""

    def __init__(self, network: nn.Module, image_shape: Sequence[int]):
        """Run the network on one image of shape (C, H, W) in eval mode, to find its stages."""
        self.network = network
        self.names: dict[Size, str] = {}
        """By spatial size (h, w) above (1, 1), the module that returns the last map of it."""
        like = next(network.parameters(), torch.zeros(()))
        image = torch.zeros(1, *image_shape, device=like.device, dtype=like.dtype)
        modes = {module: module.training for module in network.modules()}
        found = [
            module.register_forward_hook(self._finder(name))
            for name, module in network.named_modules()
        ]
        try:
            with torch.no_grad():
                network.eval()(image)
        finally:
            for handle in found:
                handle.remove()
            for module, mode in modes.items():
                module.training = mode

    def _finder(self, name: str) -> Any:
        def find(_module: nn.Module, _inputs: Any, result: Any) -> None:
            if isinstance(result, Tensor) and result.ndim == 4 and max(result.shape[2:]) > 1:
                height, width = result.shape[2:]
                self.names[height, width] = name

        return find

    @contextmanager
    def watching(self, sizes: Sequence[Size]) -> Iterator[list[Tensor]]:
        """A context in which a forward pass fills the yielded list.

        It gets Q (B, h * w) float of each size in order, with gradients as the network has them.
        """
        maps: dict[Size, Tensor] = {}
        filled: list[Tensor] = []
        modules = dict(self.network.named_modules())

        def keeper(size: Size) -> Any:
            def keep(_module: nn.Module, _inputs: Any, result: Tensor) -> None:
                if tuple(result.shape[2:]) == size:
                    # Cloned, because the network may change its result in place.
                    maps[size] = attention_map(result.clone())

            return keep

        handles = [modules[self.names[s]].register_forward_hook(keeper(s)) for s in sizes]
        try:
            yield filled
            filled += [maps[size] for size in sizes]
        finally:
            for handle in handles:
                handle.remove()


def attention_map(maps: Tensor) -> Tensor:
    """Q (B, h * w) of maps (B, C, h, w): mean square over channels, of L2 norm 1."""
    exact = maps if maps.dtype is torch.float64 else maps.float()
    return F.normalize(exact.square().mean(1).flatten(1))


def attention_loss(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
    """L_att of the maps Q of all stages, each (B, h * w); a scalar."""
    pairs = zip(teacher, student, strict=True)
    return torch.stack([(t - s).square().mean() for t, s in pairs]).sum()


def common_stages(teacher: StageMaps, student: StageMaps) -> list[Size]:
    """Spatial sizes of the stages that both networks have, largest first.

    Raises:
        ValueError: there is none.
    """
    common = sorted(set(teacher.names) & set(student.names), reverse=True)
    if not common:
        ours, theirs = (
            ", ".join(f"{h}x{w}" for h, w in sorted(maps.names, reverse=True)) or "none"
            for maps in (teacher, student)
        )
        raise ValueError(
            "distillation.attention is above 0, but teacher and student have no maps of the same "
            f"height and width (teacher: {ours}; student: {theirs}): set it to 0, or use a "
            "student whose stages have the teacher's sizes"
        )
    return common
