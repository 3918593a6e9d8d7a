"""Finds the input of a network's last linear layer or convolution: its penultimate features.

They are the f of DAFL's activation loss L_a (arXiv 1904.01186).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastdfkd.core.observed_calls import ObservedCalls

_ATEN = torch.ops.aten
LINEAR: frozenset[Any] = frozenset({F.linear, _ATEN.linear.default})
CONVOLUTIONS: frozenset[Any] = frozenset(
    {
        *(F.conv1d, F.conv2d, F.conv3d, torch.conv1d, torch.conv2d, torch.conv3d),
        *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
        *(_ATEN.conv1d.default, _ATEN.conv2d.default, _ATEN.conv3d.default),
        _ATEN.convolution.default,
    }
)


class LastLayer(ObservedCalls):
    """A context that keeps the input of the last linear layer or convolution called in it."""

    def __init__(self) -> None:
        super().__init__()
        self.features: Tensor | None = None

    def before(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Keep the input of such a layer."""
        if func in LINEAR or func in CONVOLUTIONS:
            self.features = args[0] if args else kwargs["input"]

    def take_features(self) -> Tensor:
        """The kept input, (B, F) or (B, F, ...), which is then forgotten.

        Raises:
            ValueError: there is none.
        """
        features, self.features = self.features, None
        if features is None:
            raise ValueError(
                "synthesis.activation is above 0, but the input of the teacher's last layer cannot "
                "be seen: set synthesis.activation to 0, or give the Python network"
            )
        return features
