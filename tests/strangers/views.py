"""Networks by how they reshape and reorder their maps."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.strangers.base import Base


class Views(Base):
    def flat(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), -1)


class ViewsByNumber(Base):
    def flat(self, x: Tensor) -> Tensor:
        return x.view(-1, 128)


class ViewsPermuted(Base):
    def flat(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).contiguous().view(x.size(0), -1)


class Strided(Base):
    """Reads memory as if it were row-major, whatever it is."""

    def flat(self, x: Tensor) -> Tensor:
        return torch.as_strided(x, (x.size(0), 128), (128, 1))


class ShufflesChannels(Base):
    def maps(self, x: Tensor) -> Tensor:
        x = super().maps(x)
        b, c, h, w = x.shape
        return x.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)
