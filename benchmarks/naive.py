"""The naive implementation without any optimisation: the baseline of the benchmarks.

It is written from a description of the method and runs in eager float32 in row-major layout (NCHW).
Forward hooks permute the activations and call `var`. The generator module is copied for every
batch. Every step calls `.item()`. The optimiser loops over tensors. Weight gradients of frozen
networks are computed and discarded. Images are PNG files in one folder, read by a DataLoader that
is rebuilt in each round. It computes the same function as `fastdfkd.core`
(`tests/benchmarks/test_naive.py`). The package must not import it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fastdfkd.core.augment import Augmentation, Normalisation
from fastdfkd.core.generators import Generator, UpsampledConv2d

if TYPE_CHECKING:
    from fastdfkd.recipe import DistillationSection, FastSynthesis


class MomentsHook:
    """BatchNorm statistics loss of one layer, computed in a forward hook."""

    def __init__(self, layer: nn.Module, momentum: float) -> None:
        self.layer, self.momentum = layer, momentum
        self.running: tuple[Tensor, Tensor] | None = None
        layer.register_forward_hook(self.hook)

    def hook(self, _layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        """Compute the loss from mean and biased variance of the input.

        They are averaged with the running estimate of the batches before.
        """
        x = inputs[0]
        mean = x.mean([0, 2, 3])
        var = x.permute(1, 0, 2, 3).contiguous().view(x.shape[1], -1).var(1, unbiased=False)
        if self.running is not None:
            a = self.momentum
            mean = (1 - a) * mean + a * self.running[0]
            var = (1 - a) * var + a * self.running[1]
        self.newest = mean.detach(), var.detach()
        layer: Any = self.layer
        self.loss = torch.norm(layer.running_var - var, 2) + torch.norm(layer.running_mean - mean)

    def end_batch(self) -> None:
        """Keep the newest statistics for the next batch."""
        if self.momentum:
            self.running = self.newest


class NaiveGenerator(nn.Module):
    """The paper's generator layer by layer, with the weights of the package's generator."""

    def __init__(self, ours: Generator) -> None:
        super().__init__()
        self.start = ours.start
        self.project, self.norm = copy.deepcopy(ours.project), copy.deepcopy(ours.norm)
        layers: list[nn.Module] = []
        for layer in copy.deepcopy(ours.blocks):
            if isinstance(layer, UpsampledConv2d):
                plain = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1, bias=False)
                plain.weight = layer.weight
                layers += [nn.Upsample(scale_factor=2), plain]
            else:
                layers.append(nn.LeakyReLU(0.2) if isinstance(layer, nn.LeakyReLU) else layer)
        self.blocks = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] from latent codes (B, latent_dim)."""
        images: Tensor = self.blocks(self.norm(self.project(z).reshape(-1, *self.start)))
        return images


def masked_kl(logits: Tensor, student_logits: Tensor) -> Tensor:
    """Mean KL divergence of the networks' answers, counted where they name one class."""
    mask = (student_logits.max(1)[1] == logits.max(1)[1]).float()
    terms = F.kl_div(
        F.log_softmax(student_logits, dim=1), F.softmax(logits, dim=1), reduction="none"
    )
    return (terms.sum(1) * mask).mean()


class NaiveSynthesizer:
    """Synthesises batches with a meta-generator `theta`."""

    def __init__(
        self,
        section: FastSynthesis,
        theta: Generator,
        teacher: nn.Module,
        student: nn.Module,
        normalisation: Normalisation,
    ) -> None:
        self.section, self.normalisation = section, normalisation
        self.theta = row_major(NaiveGenerator(theta))
        self.teacher, self.student = row_major(teacher).eval(), row_major(student).eval()
        layers = [m for m in self.teacher.modules() if isinstance(m, nn.BatchNorm2d)]
        self.hooks = [MomentsHook(layer, section.bn_momentum) for layer in layers]
        self.meta = adam([{"params": self.theta.parameters()}], section.lr_g * section.steps)

    def inner_loop(
        self, z: Tensor, labels: Tensor, adversarial: bool, randomness: torch.Generator
    ) -> tuple[Tensor, float, list[Tensor]]:
        """Run k steps; return the images of the lowest loss, the first loss, summed gradients."""
        section = self.section
        fast, z = copy.deepcopy(self.theta), z.clone().requires_grad_()
        groups = [{"params": fast.parameters()}, {"params": [z], "lr": section.lr_z}]
        optimizer, losses = adam(groups, section.lr_g), []
        best, kept = float("inf"), z
        summed = [torch.zeros_like(p) for p in fast.parameters()]
        for _ in range(section.steps):
            images = fast(z)
            options = section.crop_padding, section.flip, section.invert
            inputs = self.normalisation(augment(images, *options, randomness))
            logits = self.teacher(inputs)
            loss = section.bn * sum(hook.loss for hook in self.hooks)
            loss = loss + section.oh * F.cross_entropy(logits, labels)
            if adversarial:
                loss = loss - section.adv * masked_kl(logits, self.student(inputs))
            losses.append(loss.item())
            if losses[-1] < best:
                best, kept = losses[-1], images.detach().clone()
            optimizer.zero_grad()
            loss.backward()
            for total, parameter in zip(summed, fast.parameters(), strict=True):
                total += parameter.grad
            optimizer.step()
        for hook in self.hooks:
            hook.end_batch()
        return kept, losses[0], summed

    def synthesize(self, z: Tensor, labels: Tensor, randomness: torch.Generator) -> Tensor:
        """Make a batch (B, C, H, W) in [0, 1], and update the meta-generator."""
        images, _, summed = self.inner_loop(z, labels, True, randomness)
        for parameter, gradient in zip(self.theta.parameters(), summed, strict=True):
            parameter.grad = gradient
        self.meta.step()
        return images


class NaiveDistiller:
    """Student updates in eager float32; every step reads the loss."""

    def __init__(
        self,
        section: DistillationSection,
        teacher: nn.Module,
        student: nn.Module,
        normalisation: Normalisation,
    ) -> None:
        self.section, self.normalisation = section, normalisation
        self.teacher, self.student = row_major(teacher).eval(), row_major(student).train()
        self.optimizer = torch.optim.SGD(
            self.student.parameters(),
            lr=section.lr,
            momentum=section.momentum,
            weight_decay=section.weight_decay,
            foreach=False,
        )

    def update(self, images: Tensor, randomness: torch.Generator) -> float:
        """One update on images (B, C, H, W) in [0, 1]."""
        section = self.section
        options = section.crop_padding, section.flip, section.invert
        return self.update_on(self.normalisation(augment(images, *options, randomness)))

    def update_on(self, inputs: Tensor) -> float:
        """One update on normalised images."""
        with torch.no_grad():
            teacher_logits = self.teacher(inputs)
        student_logits, t = self.student(inputs), self.section.temperature
        loss = F.kl_div(
            F.log_softmax(student_logits / t, dim=1),
            F.softmax(teacher_logits / t, dim=1),
            reduction="batchmean",
        )
        loss = loss * t * t
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class PngFolder(Dataset[Tensor]):
    """Images from the PNG files of a folder, which is listed at every construction."""

    def __init__(self, folder: Path, padding: int, flip: bool, invert: bool) -> None:
        self.files = sorted(str(path) for path in folder.rglob("*.png"))
        self.options = padding, flip, invert

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        import numpy as np  # a machine with torch alone has neither
        from PIL import Image

        with Image.open(self.files[index]) as image:
            pixels = np.asarray(image)
        x = torch.from_numpy(pixels.copy()).reshape(*pixels.shape[:2], -1).permute(2, 0, 1) / 255
        return augment(x[None], *self.options, None)[0]


def save_pngs(images: Tensor, folder: Path, start: int) -> None:
    """Write images (B, C, H, W) in [0, 1] as one PNG file each."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate((images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()):
        Image.fromarray(image.squeeze()).save(folder / f"{start + i}.png")


def loader(folder: Path, batch: int, padding: int, flip: bool, invert: bool) -> Iterator[Tensor]:
    """A new DataLoader, as in every round. It has no worker processes: one core is measured."""
    data = PngFolder(folder, padding, flip, invert)
    return iter(DataLoader(data, batch, shuffle=True))


def augment(
    images: Tensor, padding: int, flip: bool, invert: bool, randomness: torch.Generator | None
) -> Tensor:
    """Pad, crop, flip and invert image by image, with the random draws of `Augmentation`."""
    generator = torch.default_generator if randomness is None else randomness
    move = Augmentation.draw(len(images), padding, flip, invert, generator)
    height, width = images.shape[2:]
    padded, augmented = F.pad(images, [padding] * 4), []
    for i, image in enumerate(padded):
        top, left = padding + int(move.dy[i]), padding + int(move.dx[i])
        window = image[:, top : top + height, left : left + width]
        window = window.flip(2) if move.flip[i] else window
        augmented.append(1 - window if move.invert is not None and move.invert[i] else window)
    return torch.stack(augmented)


def adam(groups: list[dict[str, Any]], lr: float) -> torch.optim.Adam:
    """Adam with a Python loop over tensors."""
    return torch.optim.Adam(groups, lr, betas=(0.5, 0.999), foreach=False, fused=False)


def row_major(model: Any) -> Any:
    """A copy with all weights in row-major order; all of them require gradients."""
    model = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()
    return model.requires_grad_()
