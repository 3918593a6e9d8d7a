"""A second, slow implementation of the method: float64, explicit loops, no hooks, plain Adam.

Everything here follows the paper's equations (arXiv 2112.06253) and shares no arithmetic with
`fastdfkd.core`; the tests only take random numbers (z, labels, moves) from the same streams.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fastdfkd.core.augment import Augmentation

Moments = tuple[Tensor, Tensor]


def log_softmax(logits: Tensor, temperature: float = 1.0) -> Tensor:
    scaled = logits / temperature
    return scaled - scaled.exp().sum(1, keepdim=True).log()


def kl(teacher_logits: Tensor, student_logits: Tensor, temperature: float = 1.0) -> Tensor:
    log_t = log_softmax(teacher_logits, temperature)
    log_s = log_softmax(student_logits, temperature)
    return (log_t.exp() * (log_t - log_s)).sum(1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    rows = log_softmax(logits)
    return -torch.stack([rows[i, int(y)] for i, y in enumerate(labels)]).mean()


def masked_adversarial(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    total = 0 * (teacher_logits + student_logits).sum()
    for i, divergence in enumerate(kl(teacher_logits, student_logits)):
        if int(teacher_logits[i].argmax()) == int(student_logits[i].argmax()):
            total = total + divergence
    return -total / len(teacher_logits)


def jensen_shannon(teacher_logits: Tensor, student_logits: Tensor, temperature: float) -> Tensor:
    p = log_softmax(teacher_logits, temperature).exp()
    q = log_softmax(student_logits, temperature).exp()
    m = (p + q) / 2
    return ((p * (p / m).log()).sum(1) + (q * (q / m).log()).sum(1)).mean() / 2


def total_variation(images: Tensor) -> Tensor:
    """Sum over four neighbour directions of the norm of all differences, pixel by pixel."""
    height, width = images.shape[2:]
    total = images.new_zeros(())
    for step_y, step_x in ((0, 1), (1, 0), (1, 1), (1, -1)):
        squares = images.new_zeros(())
        for y in range(height):
            for x in range(width):
                if 0 <= y + step_y < height and 0 <= x + step_x < width:
                    difference = images[:, :, y + step_y, x + step_x] - images[:, :, y, x]
                    squares = squares + difference.square().sum()
        total = total + squares.sqrt()
    return total


def moments(x: Tensor) -> Moments:
    """Mean and biased variance of each channel, by the definition."""
    rows = x.transpose(0, 1).reshape(x.shape[1], -1)
    mean = rows.sum(1) / rows.shape[1]
    return mean, (rows - mean[:, None]).square().sum(1) / rows.shape[1]


def augment(images: Tensor, how: Augmentation, padding: int) -> Tensor:
    """Pad with zeros, cut the window at padding + shift, flip, invert; image by image."""
    height, width = images.shape[2:]
    changed = []
    for i, image in enumerate(images):
        padded = nn.functional.pad(image, [padding] * 4)
        top, left = padding + int(how.dy[i]), padding + int(how.dx[i])
        window = padded[:, top : top + height, left : left + width]
        if how.flip[i]:
            window = window.flip(2)
        if how.invert is not None and how.invert[i]:
            window = (255 if images.dtype is torch.uint8 else 1) - window
        changed.append(window)
    return torch.stack(changed)


def roll_flip(images: Tensor, down: int, right: int, flip: bool) -> Tensor:
    height, width = images.shape[2:]
    rows = [(y - down) % height for y in range(height)]
    columns = [(x - right) % width for x in range(width)]
    rolled = images[:, :, rows][:, :, :, columns]
    return rolled[:, :, :, list(reversed(range(width)))] if flip else rolled


def normalised(layer: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """A BatchNorm layer in eval mode."""
    shape = (1, -1, *([1] * (x.ndim - 2)))
    mean, var = layer.running_mean.reshape(shape), layer.running_var.reshape(shape)
    x = (x - mean) / (var + layer.eps).sqrt()
    return x * layer.weight.reshape(shape) + layer.bias.reshape(shape)


def logits_and_moments(network: nn.Sequential, x: Tensor) -> tuple[Tensor, list[Moments]]:
    """Run a network in eval mode and collect the input of each BatchNorm layer."""
    seen = []
    for layer in network:
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            seen.append(moments(x))
            x = normalised(layer, x)
        else:
            x = layer(x)
    return x, seen


def to_uint8(images: Tensor) -> Tensor:
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


@dataclass
class Objective:
    """bn * L_bn + oh * CE + adv * L_adv, and the running estimate of the statistics."""

    teacher: nn.Sequential
    student: nn.Sequential
    bn: float
    oh: float
    adv: float
    momentum: float = 0.0
    js_temperature: float | None = None
    running: list[Moments] = field(default_factory=list)
    newest: list[Moments] = field(default_factory=list)

    def mixed(self, batch: list[Moments]) -> list[Moments]:
        if not self.running:
            return batch
        a = self.momentum
        return [
            ((1 - a) * m + a * old_m, (1 - a) * v + a * old_v)
            for (m, v), (old_m, old_v) in zip(batch, self.running, strict=True)
        ]

    def terms(self, inputs: Tensor, labels: Tensor, adversarial: bool) -> dict[str, Tensor]:
        logits, seen = logits_and_moments(self.teacher, inputs)
        layers = [x for x in self.teacher if isinstance(x, nn.BatchNorm1d | nn.BatchNorm2d)]
        bn = inputs.new_zeros(())
        self.newest = self.mixed(seen)
        for layer, (mean, var) in zip(layers, self.newest, strict=True):
            bn = bn + (layer.running_var - var).square().sum().sqrt()
            bn = bn + (layer.running_mean - mean).square().sum().sqrt()
        oh, adv = cross_entropy(logits, labels), inputs.new_zeros(())
        if adversarial:
            student_logits, _ = logits_and_moments(self.student, inputs)
            if self.js_temperature:
                adv = -jensen_shannon(logits, student_logits, self.js_temperature)
            else:
                adv = masked_adversarial(logits, student_logits)
        loss = self.bn * bn + self.oh * oh + self.adv * adv
        return {"loss": loss, "bn": bn, "oh": oh, "adv": adv}

    def end_batch(self) -> None:
        if self.momentum:
            self.running = [(m.detach(), v.detach()) for m, v in self.newest]


@dataclass
class Inner:
    """k inner steps: every step's loss terms, images and gradients, and theta'_k."""

    terms: list[dict[str, float]]
    images: list[Tensor]
    gradients: list[list[Tensor]]
    fast: list[Tensor]

    @property
    def best(self) -> int:
        losses = [terms["loss"] for terms in self.terms]
        return losses.index(min(losses))

    def summed(self) -> list[Tensor]:
        return [sum(step[1:], step[0]) for step in zip(*self.gradients, strict=True)]


class FastSynthesizer:
    """One batch of Algorithm 1: the inner loop and the meta-update."""

    def __init__(
        self,
        generator: nn.Module,
        objective: Objective,
        *,
        steps: int,
        lr_g: float,
        lr_z: float,
        padding: int,
        mean: Tensor,
        std: Tensor,
        meta: str = "fomaml",
        reptile_scale: float = 67.0,
    ):
        self.theta, self.objective = copy.deepcopy(generator), objective
        self.steps, self.lr_g, self.lr_z, self.padding = steps, lr_g, lr_z, padding
        self.mean, self.std = mean, std
        self.meta, self.reptile_scale = meta, reptile_scale
        self.optimizer = torch.optim.Adam(
            self.theta.parameters(), lr=lr_g * steps, betas=(0.5, 0.999), foreach=False, fused=False
        )

    def inner_loop(
        self, z: Tensor, labels: Tensor, moves: list[Augmentation], adversarial: bool
    ) -> Inner:
        fast = copy.deepcopy(self.theta)
        z = z.clone().requires_grad_()
        groups = [
            {"params": list(fast.parameters()), "lr": self.lr_g},
            {"params": [z], "lr": self.lr_z},
        ]
        adam = torch.optim.Adam(groups, betas=(0.5, 0.999), foreach=False, fused=False)
        inner = Inner([], [], [], [])
        for move in moves:
            images = fast(z)
            inputs = (augment(images, move, self.padding) - self.mean) / self.std
            terms = self.objective.terms(inputs, labels, adversarial)
            adam.zero_grad()
            terms["loss"].backward()
            inner.terms.append({name: value.item() for name, value in terms.items()})
            inner.images.append(images.detach().clone())
            inner.gradients.append([p.grad.clone() for p in fast.parameters()])
            adam.step()
        inner.fast = [p.detach().clone() for p in fast.parameters()]
        self.objective.end_batch()
        return inner

    def learn(self, inner: Inner) -> None:
        if self.meta == "sequential":
            for parameter, new in zip(self.theta.parameters(), inner.fast, strict=True):
                parameter.data = new.clone()
            return
        if self.meta == "fomaml":
            gradients = inner.summed()
        else:
            gradients = [
                self.reptile_scale * (p.detach() - new)
                for p, new in zip(self.theta.parameters(), inner.fast, strict=True)
            ]
        for parameter, gradient in zip(self.theta.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
