"""The teacher of a synthesis step as a function of tensors, statistics included, to be compiled.

Without the compiler each fused norm passes its input's moments to a recorder. The compiler reads
no such calls: here the moments are results, and are recorded after the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.channel_moments import Moments
from fastdfkd.core.fused_norm import recording
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.plain_layers import measured_norms, with_moments

Measure = Callable[[Tensor], Sequence[Tensor]]
"""Gives a network's logits, then mean and variance (C,) of the input of each norm in order."""


class RecordedTeacher:
    """Gives the teacher's logits and records the statistics of its norms."""

    def __init__(
        self,
        network: nn.Module,
        use: NetworkUse,
        statistics: BatchNormStatistics,
        part: Callable[..., Any],
    ):
        """Make a part of the teacher.

        Args:
            network: the fused teacher, for which `knows_all` is true.
            use: how it is run.
            statistics: records the moments.
            part: `Compiling.part`.
        """
        self.network, self.use, self.statistics = network, use, statistics
        self.norms = measured_norms(network)
        self.measure = part("the teacher", self._plainly, form=self._form, network=network)

    @staticmethod
    def knows_all(network: nn.Module, statistics: BatchNormStatistics) -> bool:
        """Whether the fused norms of a teacher are all that its statistics are recorded from."""
        norms = measured_norms(network)
        return bool(norms) and {*norms} == {*statistics.layers} and not statistics.buffers

    @property
    def stays_plain(self) -> bool:
        """Whether the teacher was tried and is not compiled."""
        return bool(self.measure.stays_plain)

    def __call__(self, inputs: Tensor) -> Tensor:
        """The logits (B, K, *space) for inputs (B, C, H, W)."""
        logits, *moments = self.measure(inputs)
        for name, mean, var in zip(self.norms, moments[::2], moments[1::2], strict=True):
            self.statistics.record(name, (mean, var))
        assert isinstance(logits, Tensor)
        return logits

    def _plainly(self, inputs: Tensor) -> tuple[Tensor, ...]:
        found: dict[str, Moments] = {}
        with recording(self.network, found.__setitem__):
            logits = self.use.logits(self.network(inputs))
        return logits, *(moment for name in self.norms for moment in found[name])

    def _form(self) -> Measure:
        network = with_moments(self.network)

        def measure(inputs: Tensor) -> tuple[Tensor, ...]:
            answer, *moments = network(inputs)
            return self.use.logits(answer), *moments

        return measure
