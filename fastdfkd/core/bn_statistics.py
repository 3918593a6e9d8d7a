"""The BatchNorm-statistics loss: distance of a batch's statistics from the training data's.

Every BatchNorm layer of the teacher stores the running mean and variance of its input over the
training data. The loss compares them with the mean m and biased variance v of the synthetic batch:

    L_bn = sum_l || running_var_l - v_l ||_2 + || running_mean_l - m_l ||_2       (Eq. 2)

The norms are not squared. With momentum a > 0, m and v are first mixed with a running estimate
from earlier batches: (1 - a) * batch + a * estimate. The estimate is updated once per batch, from
the batch's last step. The first batch has no estimate and is not mixed.

"BatchNorm layer" is whatever normalises by running statistics (`core/norm_layers.py`,
`core/norm_calls.py`). Those of an InstanceNorm are means over images of an image's statistics, so m
and v are computed in the same way there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fastdfkd.core.norm_calls import NormCalls, Statistics, loose_buffers
from fastdfkd.core.norm_layers import normalising_layers, per_image

Moments = tuple[Tensor, Tensor]
_SIDE = 16


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
        self._called: dict[str, Statistics] = {}
        self._batch: dict[str, Moments] = {}
        self._running: dict[str, Moments] = {}
        self._places: dict[str, Moments] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record each layer's input statistics in every forward pass inside the block."""
        handles = [
            layer.register_forward_pre_hook(self._recorder(name, per_image(layer)))
            for name, layer in self.layers.items()
        ]
        try:
            with NormCalls(self.buffers, self._on_call) if self.buffers else nullcontext():
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
        mixed = self._mixed()
        layers: list[Any] = [self._called.get(name) or self.layers[name] for name in mixed]
        targets = [t for layer in layers for t in (layer.running_mean, layer.running_var)]
        found = [tensor for pair in mixed.values() for tensor in pair]
        return _SumOfNorms.apply(targets, *found)  # type: ignore[no-any-return, no-untyped-call]

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


def image_moments(x: Tensor) -> Moments:
    """Mean over images of an image's mean and unbiased variance of each channel, each (C,) float32.

    x is (B, C, ...) with at least one axis of positions.
    """
    exact = x if x.dtype is torch.float64 else x.float()
    positions = exact.flatten(2)
    correction = min(positions.shape[2] - 1, 1)
    return positions.mean((0, 2)), positions.var(2, correction=correction).mean(0)


def channel_moments(x: Tensor) -> Moments:
    """Mean and biased variance of each channel over batch and space, each (C,) float32.

    x is (B, C) or (B, C, ...) of a floating type. Forward and backward read it once each.
    """
    return _ChannelMoments.apply(x)  # type: ignore[no-any-return, no-untyped-call]


class _SumOfNorms(torch.autograd.Function):
    """Sum over l of ||target_l - found_l||_2 in a few multi-tensor calls; gradient 0 at 0."""

    @staticmethod
    def forward(ctx: Any, targets: list[Tensor], *found: Tensor) -> Tensor:
        differences = torch._foreach_sub(found, targets)
        norms = torch._foreach_norm(differences)
        ctx.save_for_backward(*differences, *norms)
        return torch.stack(norms).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        differences, norms = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        norms = torch._foreach_clamp_min(norms, torch.finfo(gradient.dtype).tiny)
        return None, *torch._foreach_mul(torch._foreach_div(differences, norms), gradient)


class _ChannelMoments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Moments:
        mean, var = moments(x)
        ctx.save_for_backward(x, mean)
        return mean, var

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        return moments_gradient(x, mean, *gradients)


def moments_gradient(
    x: Tensor, mean: Tensor, grad_mean: Tensor | None, grad_var: Tensor | None
) -> Tensor:
    """Gradient of x that comes through its moments, in the type and layout of x.

    It is affine in x per channel, grad_mean / n + 2 grad_var (x - mean) / n with n values per
    channel: one multiply-add. torch's batch-norm kernel computes it with float32 factors for x of
    any floating type.
    """
    count = x.numel() // x.shape[1]
    zero, one = torch.zeros_like(mean), torch.ones_like(mean)
    slope = zero if grad_var is None else 2 * grad_var / count
    offset = zero if grad_mean is None else grad_mean / count
    return normalised(x, (mean, one), slope, offset, eps=0.0)


def normalised(
    x: Tensor, statistics: Moments, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """BatchNorm of x (B, C, ...) with given mean and variance; keeps shape and type.

    Calls the kernel behind `F.batch_norm` without its checks: torch 2.11 refuses an eps of 0.
    """
    cudnn = torch.backends.cudnn.enabled
    return torch.batch_norm(x, weight, bias, *statistics, False, 0.0, eps, cudnn)


def moments(x: Tensor) -> Moments:
    """`channel_moments` without a gradient, from torch's batch-norm kernel.

    On the CPU that kernel sums a channel in one float32 register; the error is 1e-5 over 65,536
    values. Here 16 rows are viewed as one, with 16 times the channels, so that each sum has a
    sixteenth of the terms. The 16 partial moments are merged by Chan's formula; the error is 1e-6.
    """
    exact = torch.float64 if x.dtype is torch.float64 else torch.float32
    if x.device.type != "cpu":
        return _kernel_moments(x, exact)
    rows = x.movedim(1, -1).reshape(-1, x.shape[1]).contiguous()
    body = len(rows) // _SIDE * _SIDE
    parts = [rows[:body].view(-1, _SIDE * x.shape[1])] if body else []
    if body < len(rows):
        parts.append(rows[body:])
    stats = [(len(part), *_kernel_moments(part, exact)) for part in parts]
    means = torch.cat([mean.view(-1, x.shape[1]) for _, mean, _ in stats])
    variances = torch.cat([var.view(-1, x.shape[1]) for _, _, var in stats])
    sides = [(len(mean) // x.shape[1], size / len(rows)) for size, mean, _ in stats]
    weights = torch.cat([means.new_full((side, 1), weight) for side, weight in sides])
    mean = (weights * means).sum(0)
    return mean, (weights * (variances + (means - mean).square())).sum(0)


def _kernel_moments(x: Tensor, exact: torch.dtype) -> Moments:
    """Mean and biased variance of type `exact`, which the type of unused running estimates sets."""
    unused = x.new_zeros(x.shape[1], dtype=exact)
    mean, var = torch.batch_norm_update_stats(x, unused, unused, 0.0)
    return mean, var
