"""The BatchNorm-statistics loss: distance of a batch's statistics from the training data's.

Every BatchNorm layer of the teacher stores the running mean and variance of its input over the
training data. The loss compares them with the mean m and biased variance v of the synthetic batch:

    L_bn = sum_l || running_var_l - v_l ||_2 + || running_mean_l - m_l ||_2

This is Eq. 2 of arXiv 2112.06253. The norms are not squared. With momentum a > 0, m and v are first
mixed with a running estimate from earlier batches: (1 - a) * batch + a * estimate. The estimate is
updated once per batch, from the batch's last step. The first batch has no estimate and is not
mixed.

"BatchNorm layer" is whatever normalises by running statistics (`core/norm_layers.py`,
`core/norm_calls.py`). Those of an InstanceNorm are means over images of an image's statistics, so m
and v are computed in the same way there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fastdfkd.core import torch_versions
from fastdfkd.core.channel_moments import Moments, channel_moments, image_moments
from fastdfkd.core.norm_calls import NormCalls, ScriptNormCalls, Statistics, loose_buffers
from fastdfkd.core.norm_layers import normalising_layers, per_image

LEAST_VARIANCE = 1e-5
"""BatchNorm's default eps: its logarithm and its inverse are finite."""
RELATIVE_SCALE = 100.0
"""Factor of the relative form. With it, both forms are about as large for real images of the
teacher with which the default weights were found (a ResNet-14 on rendered letters)."""


class BatchNormStatistics:
    """Records the statistics of a teacher's BatchNorm inputs inside a `watching()` block.

    The block adds hooks to the model and removes them at its end, also after an error.
    """

    def __init__(self, teacher: nn.Module, momentum: float = 0.0):
        self.momentum = momentum
        self.layers = normalising_layers(teacher)
        self.buffers = loose_buffers(teacher, self.layers)
        """Buffers, by name, with which the teacher may call torch's batch norm itself."""
        self._paused = False
        self._of_images = {name for name, layer in self.layers.items() if per_image(layer)}
        self._scripts = ScriptNormCalls(teacher, self.buffers, self._on_call)
        self._loose = {n: b for n, b in self.buffers.items() if n not in self._scripts.buffers}
        self._called: dict[str, Statistics] = {}
        self._batch: dict[str, Moments] = {}
        self._running: dict[str, Moments] = {}
        self._places: dict[str, Moments] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record each layer's input statistics in every forward pass inside the block."""
        handles = [
            layer.register_forward_pre_hook(self._recorder(name, name in self._of_images))
            for name, layer in self.layers.items()
        ]
        handles += self._scripts.attach()
        try:
            with NormCalls(self._loose, self._on_call) if self._loose else nullcontext():
                yield
        finally:
            for handle in handles:
                handle.remove()
            self._batch.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside a `watching()` block: record nothing in the forward passes of this block."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def record(self, name: str, moments: Moments) -> None:
        """Store the moments of a layer's input; for networks without hooks (`FusedNorm`)."""
        self._batch[name] = moments

    def record_all(self, found: Mapping[str, Moments]) -> None:
        """Store the moments of all layers after a replayed CUDA graph, which calls no hooks."""
        self._batch.update(found)

    @property
    def newest(self) -> dict[str, Moments]:
        """Moments of the newest forward pass by layer name, without gradient."""
        return {name: (mean.detach(), var.detach()) for name, (mean, var) in self._batch.items()}

    @property
    def estimated(self) -> bool:
        """Whether running estimates exist."""
        return bool(self._running)

    def loss(self) -> Tensor:
        """L_bn of the newest forward pass, a float32 scalar."""
        targets, found = self._pairs()
        return _SumOfNorms.apply(targets, None, *found)  # type: ignore[no-any-return, no-untyped-call]

    def relative_loss(self) -> Tensor:
        """L_bn in units of the training data's deviations, a float32 scalar.

        `RELATIVE_SCALE` times the mean over layers of rms((m - running_mean) / deviation) +
        rms(v / running_var - 1), where rms is the root mean square over channels. Number and width
        of the layers and the scale of their inputs drop out: a weight means the same for every
        teacher. Running variances below `LEAST_VARIANCE` count as that.
        """
        targets, found = self._pairs()
        scales = _inverse_deviations(targets)
        total = _SumOfNorms.apply(targets, scales, *found)  # type: ignore[no-untyped-call]
        result: Tensor = total * (2 * RELATIVE_SCALE / len(targets))
        return result

    def divergence(self) -> Tensor:
        """Divergence of the newest forward pass from the training data, a float32 scalar.

        The sum over layers and channels of KL(N(m, v) || N(running_mean, running_var)), the form
        of L_bn in DFQ (arXiv 2005.04136). Variances below `LEAST_VARIANCE` count as that.
        """
        total: Tensor | None = None
        for name, (mean, var) in self._mixed().items():
            running_mean, running_var = self.target(name)
            ours, theirs = (each.clamp_min(LEAST_VARIANCE) for each in (var, running_var))
            ratio = ours / theirs
            off = (mean - running_mean).square() / theirs
            found = (off + ratio - ratio.log() - 1).sum() / 2
            total = found if total is None else total + found
        assert total is not None, "the teacher has no layer with statistics"
        return total

    def _pairs(self) -> tuple[list[Tensor], list[Tensor]]:
        """Running mean and variance of each recorded layer in turn, and the batch's like them."""
        mixed = self._mixed()
        targets = [tensor for name in mixed for tensor in self.target(name)]
        return targets, [tensor for pair in mixed.values() for tensor in pair]

    def target(self, name: str) -> Moments:
        """Running mean and variance of a layer that was recorded."""
        layer: Any = self._called.get(name) or self.layers[name]
        return layer.running_mean, layer.running_var

    def end_batch(self) -> None:
        """Update the running estimates from the newest forward pass; once per synthesised batch."""
        if self.momentum > 0:
            self._keep(self._mixed())

    def state_dict(self) -> dict[str, Tensor]:
        """Running estimates `<layer>.mean` and `<layer>.var`; empty before the first batch."""
        return {
            f"{name}.{kind}": tensor
            for name, moments in self._running.items()
            for kind, tensor in zip(("mean", "var"), moments, strict=True)
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore `state_dict()` of a teacher with the same layers.

        Raises:
            ValueError: a layer is missing, or has another number of channels.
        """
        names = dict.fromkeys(key.rpartition(".")[0] for key in state)
        places = self._means()
        for name in names:
            if name not in places or state[f"{name}.mean"].shape != places[name].shape:
                raise ValueError(
                    f"running estimates belong to another teacher: this one has no layer {name} "
                    f"of {len(state[f'{name}.mean'])} channels"
                )
        self._keep({name: (state[f"{name}.mean"], state[f"{name}.var"]) for name in names})

    @torch.no_grad()
    def _keep(self, estimates: Mapping[str, Moments]) -> None:
        """Copy the estimates into fixed tensors, whose addresses a captured step reads."""
        for name, moments in estimates.items():
            if name not in self._places:
                device = self._means()[name].device
                mean, var = (torch.empty_like(x, device=device) for x in moments)
                self._places[name] = mean, var
            for place, moment in zip(self._places[name], moments, strict=True):
                place.copy_(moment)
        self._running = {name: self._places[name] for name in estimates}

    def _means(self) -> dict[str, Any]:
        """Running means by layer, and the buffers that may be one."""
        return {name: layer.running_mean for name, layer in self.layers.items()} | self.buffers

    def _mixed(self) -> dict[str, Moments]:
        a = self.momentum
        if not self._running:
            return self._batch
        mixed = {}
        for name, (mean, var) in self._batch.items():
            old_mean, old_var = self._running[name]
            mixed[name] = ((1 - a) * mean + a * old_mean, (1 - a) * var + a * old_var)
        return mixed

    def _recorder(self, name: str, of_images: bool) -> Any:
        def record(_layer: nn.Module, inputs: tuple[Tensor]) -> None:
            if not self._paused:
                self.record(name, _moments_of(inputs[0], of_images))

        return record

    def _on_call(self, name: str, x: Tensor, statistics: Statistics, of_images: bool) -> None:
        if self._paused:
            return
        self._called[name] = statistics
        self.record(name, _moments_of(x, of_images))


def _moments_of(x: Tensor, of_images: bool) -> Moments:
    return image_moments(x) if of_images else channel_moments(x)


@torch.no_grad()
def _inverse_deviations(targets: Sequence[Tensor]) -> list[Tensor]:
    """For means 1 / (deviation * sqrt(C)), for variances 1 / (variance * sqrt(C)); each (C,)."""
    variances = torch_versions.foreach_clamp_min(list(targets[1::2]), LEAST_VARIANCE)
    roots = [math.sqrt(len(each)) for each in variances]
    of_means = torch_versions.foreach_reciprocal(
        torch_versions.foreach_mul(torch_versions.foreach_sqrt(variances), roots)
    )
    of_variances = torch_versions.foreach_reciprocal(torch_versions.foreach_mul(variances, roots))
    return [scale for pair in zip(of_means, of_variances, strict=True) for scale in pair]


class _SumOfNorms(torch.autograd.Function):
    """Sum over l of ||(target_l - found_l) * scale_l||_2 in a few multi-tensor calls.

    Without scales they are 1. The gradient is 0 at 0.
    """

    @staticmethod
    def forward(
        ctx: Any, targets: list[Tensor], scales: list[Tensor] | None, *found: Tensor
    ) -> Tensor:
        differences = torch_versions.foreach_sub(found, targets)
        if scales is not None:
            differences = torch_versions.foreach_mul(differences, scales)
        norms = torch_versions.foreach_norm(differences)
        ctx.save_for_backward(*differences, *norms)
        ctx.scales = scales
        return torch.stack(norms).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        differences, norms = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        norms = torch_versions.foreach_clamp_min(norms, torch.finfo(gradient.dtype).tiny)
        found = torch_versions.foreach_mul(torch_versions.foreach_div(differences, norms), gradient)
        if ctx.scales is not None:
            found = torch_versions.foreach_mul(found, ctx.scales)
        return None, None, *found


FORMS: Mapping[str, Callable[[BatchNormStatistics], Tensor]] = {
    "norms": BatchNormStatistics.loss,
    "relative": BatchNormStatistics.relative_loss,
    "gaussians": BatchNormStatistics.divergence,
}
"""Values of `synthesis.statistics` to the form of L_bn."""
