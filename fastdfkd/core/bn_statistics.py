"""The BatchNorm-statistics loss: synthetic batches should look like the training data did.

Every BatchNorm layer of the teacher remembers the mean and variance of its input over the training
data. The loss is the distance of the batch's own statistics to them, summed over layers:

    L_bn = sum_l || running_var_l - v_l ||_2 + || running_mean_l - m_l ||_2       (Eq. 2)

Norms are not squared and v is the biased variance. With momentum a, m and v are first mixed with
an estimate kept from earlier batches, (1 - a) * batch + a * estimate; the estimate moves once a
batch, from its last step, and the first batch has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Moments = tuple[Tensor, Tensor]


class BatchNormStatistics:
    """Reads the statistics of a teacher's BatchNorm inputs while `watching()`.

    Hooks are on the model inside that block only, whatever happens in it.
    """

    def __init__(self, teacher: nn.Module, momentum: float = 0.0):
        self.momentum = momentum
        self.layers = batch_norm_layers(teacher)
        self._batch: dict[str, Moments] = {}
        self._running: dict[str, Moments] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record each layer's input statistics at every forward inside the block."""
        handles = [
            layer.register_forward_pre_hook(self._recorder(name))
            for name, layer in self.layers.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._batch.clear()

    def loss(self) -> Tensor:
        """L_bn of the newest forward, a float32 scalar."""
        norms = []
        for name, (mean, var) in self._mixed().items():
            layer = self.layers[name]
            assert layer.running_mean is not None
            assert layer.running_var is not None
            norms.append(torch.linalg.vector_norm(layer.running_var - var))
            norms.append(torch.linalg.vector_norm(layer.running_mean - mean))
        return torch.stack(norms).sum()

    def end_batch(self) -> None:
        """Move the running estimates by the newest forward; once a synthesised batch."""
        if self.momentum > 0:
            mixed = self._mixed()
            self._running = {n: (m.detach(), v.detach()) for n, (m, v) in mixed.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Running estimates: `<layer>.mean` and `<layer>.var`, empty before the first batch."""
        return {
            f"{name}.{kind}": tensor
            for name, moments in self._running.items()
            for kind, tensor in zip(("mean", "var"), moments, strict=True)
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state_dict()` of a teacher with the same layers."""
        names = {key.rpartition(".")[0] for key in state}
        for name in names:
            layer = self.layers.get(name)
            if layer is None or state[f"{name}.mean"].shape != (layer.num_features,):
                raise ValueError(
                    f"running estimates belong to another teacher: layer {name} of "
                    f"{len(state[f'{name}.mean'])} channels is not in this one"
                )
        self._running = {
            name: (state[f"{name}.mean"].to(device), state[f"{name}.var"].to(device))
            for name in names
            for device in [self.layers[name].running_mean.device]  # type: ignore[union-attr]
        }

    def _mixed(self) -> dict[str, Moments]:
        a = self.momentum
        if not self._running:
            return self._batch
        mixed = {}
        for name, (mean, var) in self._batch.items():
            old_mean, old_var = self._running[name]
            mixed[name] = ((1 - a) * mean + a * old_mean, (1 - a) * var + a * old_var)
        return mixed

    def _recorder(self, name: str) -> Any:
        def record(_layer: nn.Module, inputs: tuple[Tensor]) -> None:
            self._batch[name] = channel_moments(inputs[0])

        return record


def batch_norm_layers(model: nn.Module) -> dict[str, _BatchNorm]:
    """BatchNorm layers of a model that keep running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


def channel_moments(x: Tensor) -> Moments:
    """Mean and biased variance of each channel over batch and space, each (C,) float32.

    x: (B, C) or (B, C, ...) of a floating type. One pass forward, one pass backward.
    """
    return _ChannelMoments.apply(x)  # type: ignore[no-any-return, no-untyped-call]


class _ChannelMoments(torch.autograd.Function):
    """Both gradients are affine in x per channel: one multiply-add gives the input's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Moments:
        mean, var = _moments(x)
        ctx.save_for_backward(x, mean)
        return mean, var

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        grad_mean, grad_var = gradients
        shape = (1, -1, *([1] * (x.ndim - 2)))
        count = x.numel() // x.shape[1]
        slope = 2 * grad_var / count
        offset = grad_mean / count - slope * mean
        return torch.addcmul(offset.reshape(shape).to(x.dtype), x, slope.reshape(shape).to(x.dtype))


def _moments(x: Tensor) -> Moments:
    """Statistics from torch's own batch-norm kernel, which reads x where it lies.

    On the CPU that kernel adds up a channel in one float32 register, off by 1e-5 over 65,536
    values: sixteen chunks, joined by Chan's formula, bring it to 1e-6 and cost little.
    """
    chunk = -(-len(x) // 16) if x.device.type == "cpu" else len(x)
    parts = torch.split(x, chunk)
    exact = torch.float64 if x.dtype is torch.float64 else torch.float32
    unused = x.new_zeros(2, x.shape[1], dtype=exact)  # makes the kernel answer in that type
    stats = [torch.batch_norm_update_stats(part, unused[0], unused[1], 0.0) for part in parts]
    means = torch.stack([mean for mean, _ in stats])
    variances = torch.stack([var for _, var in stats])
    weights = means.new_tensor([len(part) / len(x) for part in parts])[:, None]
    mean = (weights * means).sum(0)
    return mean, (weights * (variances + (means - mean).square())).sum(0)
