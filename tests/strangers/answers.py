"""Networks by what they return."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from tests.strangers.base import CLASSES, SIDE, Base

Pair = namedtuple("Pair", "logits aux")


class ReturnsPair(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x), x


class ReturnsTuple1(Base):
    def forward(self, x: Tensor) -> Any:
        return (self.logits(x),)


class ReturnsList(Base):
    def forward(self, x: Tensor) -> Any:
        return [self.logits(x), None]


class ReturnsDict(Base):
    def forward(self, x: Tensor) -> Any:
        maps = self.maps(x)
        return {"features": maps, "logits": self.head(self.flat(maps))}


class ReturnsSingleEntry(Base):
    def forward(self, x: Tensor) -> Any:
        return {"out": self.logits(x)}


@dataclass
class Output:
    loss: Tensor | None
    logits: Tensor


class ReturnsObject(Base):
    def forward(self, x: Tensor) -> Any:
        return Output(None, self.logits(x))


class AuxiliaryInTraining(Base):
    """As GoogLeNet: a named tuple in train mode alone."""

    def __init__(self) -> None:
        super().__init__()
        self.aux = nn.Linear(128, CLASSES)

    def forward(self, x: Tensor) -> Any:
        flat = self.flat(self.maps(x))
        return Pair(self.head(flat), self.aux(flat)) if self.training else self.head(flat)


class DeepSupervision(AuxiliaryInTraining):
    def forward(self, x: Tensor) -> Any:
        flat = self.flat(self.maps(x))
        deep = {"logits": self.head(flat), "deep": [self.aux(flat)]}
        return deep if self.training else self.head(flat)


class KeepsUnitSides(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x)[..., None, None]


class Squeezes(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x)[..., None, None].squeeze()


class Softmax(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x).softmax(1)


class LogSoftmax(Base):
    def forward(self, x: Tensor) -> Any:
        return F.log_softmax(self.logits(x), 1)


class Sigmoid(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x).sigmoid()


class OneNumber(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x)[:, 0]


class Segments(Base):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x)[:, :, None, None].expand(-1, -1, SIDE, SIDE)
