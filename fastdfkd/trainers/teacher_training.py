"""Trains a teacher on real images. Only the sample recipes need it: users bring trained weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

import torch
from torch import Tensor, nn

from fastdfkd.core.aligned_crop import AlignedCrop
from fastdfkd.core.answers import output_of
from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.network_trial import find_network_use
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.optimizers import SGD
from fastdfkd.core.precision import resolve_precision
from fastdfkd.core.random_streams import stream
from fastdfkd.data import Images
from fastdfkd.recipe import TeacherSection

OnEpoch = Callable[[int, int, float], None]
"""Called after every epoch with its number (from 1), the number of epochs and its mean loss."""


def train_classifier(
    model: nn.Module,
    train: Images,
    spec: ImageSpec,
    section: TeacherSection,
    *,
    seed: int,
    device: torch.device | str,
    on_epoch: OnEpoch | None = None,
) -> None:
    """Train `model` on real images, in place. It ends on `device` in train mode.

    Cross-entropy with SGD, Nesterov momentum 0.9, and a one-cycle schedule with maximum
    `section.lr`. Crops and flips are random and made on the device; maps of classes are cropped and
    flipped as their images are, and void pixels have no loss. Each epoch has a new order and
    drops the images that do not fill its last batch. The result depends only on the initial
    weights, the arguments and the hardware.

    Raises:
        ValueError: the loss became NaN or infinite.
    """
    device = torch.device(device)
    use = _use_in_training(model, spec, section, device)
    use.placed(model, device).train()
    data = train.on(device)
    steps = max(len(data) // section.batch_size, 1)
    optimizer = SGD(
        model.parameters(),
        section.lr,
        momentum=0.9,
        nesterov=True,
        weight_decay=section.weight_decay,
    )
    rates = one_cycle(section.lr, section.epochs * steps)
    normalise = spec.normalisation(device)
    generator = stream(seed, "teacher", "training", device=device)
    for epoch in range(1, section.epochs + 1):
        total = torch.zeros((), device=device)
        for images, labels in _batches(data, spec, section, generator):
            with use.autocast(device, section.precision):
                logits = use.logits(model(use.images(normalise.from_uint8(images))))
            loss = spec.kind.one_hot_loss(logits.float(), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.lr = next(rates)
            optimizer.step()
            total += loss.detach()
        mean = total.item() / steps
        _check_loss(mean, epoch, section)
        if on_epoch is not None:
            on_epoch(epoch, section.epochs, mean)


def _use_in_training(
    model: nn.Module, spec: ImageSpec, section: TeacherSection, device: torch.device
) -> NetworkUse:
    """Which changes for speed the network bears while it is trained."""
    return find_network_use(
        model,
        spec.shape,
        output=output_of(section),
        spatial_axes=spec.kind.spatial_axes,
        precision=resolve_precision(device, section.precision),
        student=True,
    )


def _check_loss(mean: float, epoch: int, section: TeacherSection) -> None:
    """Raise if the mean loss of an epoch is NaN or infinite."""
    if not math.isfinite(mean):
        raise ValueError(
            f"the teacher's training diverged in epoch {epoch} of {section.epochs} "
            f"(loss {mean}): lower teacher.lr, now {section.lr}"
        )


def one_cycle(peak: float, steps: int) -> Iterator[float]:
    """Learning rate of each step, that of torch's `OneCycleLR` (arXiv 1708.07120).

    It rises from peak / 25 to peak in the first 30 % of the steps, then falls to peak / 250,000;
    each part is half a cosine.
    """
    top = 0.3 * steps - 1
    for step in range(steps):
        first, last, part = (
            (peak / 25, peak, step / top)
            if step <= top
            else (peak, peak / 250_000, (step - top) / (steps - 1 - top))
        )
        yield last + (first - last) / 2 * (1 + math.cos(math.pi * part))


def _batches(
    data: Images, spec: ImageSpec, section: TeacherSection, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Full batches of one epoch: augmented images (B, C, H, W) uint8 channels-last, and labels.

    Both are on the generator's device. Larger images are cropped to `spec.shape`.
    """
    height, width = spec.shape[1:]
    device = generator.device
    size = min(section.batch_size, len(data))
    order = torch.randperm(len(data), generator=generator, device=device)
    with closing(data.batches(size, order[: len(data) // size * size])) as batches:
        for parts in _full(batches, size):
            moved, targets = [], []
            for images, labels in parts:
                move = AlignedCrop.draw(
                    len(images),
                    (images.shape[2], images.shape[3]),
                    (height, width),
                    section.crop_padding,
                    section.flip,
                    generator,
                )
                moved.append(move.images(images.to(device)))
                targets.append(spec.kind.moved(labels.to(device), move))
            yield (
                torch.cat(moved).contiguous(memory_format=torch.channels_last),
                torch.cat(targets),
            )


def _full(
    batches: Iterable[tuple[Tensor, Tensor]], size: int
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Lists of batches with `size` images together; those that remain at the end are left out.

    Batches are smaller if the images have several sizes, or if files turned out to be unreadable.
    """
    waiting: list[tuple[Tensor, Tensor]] = []
    for images, labels in batches:
        missing = size - sum(len(part) for part, _ in waiting)
        waiting.append((images[:missing], labels[:missing]))
        if len(images) >= missing:
            yield waiting
            waiting = [(images[missing:], labels[missing:])] if len(images) > missing else []
