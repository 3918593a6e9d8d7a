"""Tests whether a teacher's statistics can come from images under the stated normalisation.

The first layer with running statistics sees little more than the images: mostly the output of one
convolution. Its running variance says what contrast the training images had, measured in the units
of the network's input. The test therefore shows the network artificial images with the spectrum of
photographs (amplitude 1 / frequency) and a known contrast, normalised as stated, and compares:

    contrast = contrast of the artificial images * sqrt(median over channels (running var / var))

This is the standard deviation that the pixels of the training images would have had, if the stated
normalisation were right. Pixels in [0, 1] have at most 0.5, and sets of pictures lie between 0.05
and 0.4. The figure is right within a factor of about 1.5 upwards and 2 downwards, also for images
without the spectrum of photographs, such as noise, black and white squares and letters
(docs/checking.md has the measurements). The limits allow for that: 1.5 * 0.5, and a fifth of 0.05.

The test sees a wrong scale, such as [0, 255] for [0, 1] (a factor of 255), or [0, 1] for images
divided by ImageNet's deviation (a factor of 4.4). It cannot see a small one: ImageNet's values for
CIFAR's, or [-1, 1] for [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastdfkd.core.bn_statistics import BatchNormStatistics
from fastdfkd.core.channel_moments import Moments
from fastdfkd.core.network_use import copied, freeze

LEAST, MOST = 0.01, 0.75
"""Contrasts outside are not those of pictures in [0, 1]."""
_BYTES = 5.0
"""Contrasts above are those of bytes: a normalisation seldom divides by less than 0.05."""
_IMAGES = 32
_MEAN, _CONTRAST = 0.5, 0.2
_SHARED = 0.9
"""Share of the variance that the colour channels of photographs have in common."""


@dataclass(frozen=True, kw_only=True)
class NormalisationFinding:
    """What the first statistics layer says of the stated normalisation."""

    layer: str
    """Name of the layer; "" if no layer could be compared."""
    contrast: float | None
    """Standard deviation of pixels in [0, 1] that fits the layer's variance; None: unknown."""
    unknown: str = ""
    """Why nothing could be compared."""

    @property
    def plausible(self) -> bool:
        """False only if the normalisation cannot be right."""
        return self.contrast is None or LEAST <= self.contrast <= MOST

    @property
    def line(self) -> str:
        """The finding in one line, and what to do if the normalisation cannot be right."""
        if self.contrast is None:
            return f"normalisation not tested: {self.unknown}"
        fits = (
            f"the statistics of the teacher's layer {self.layer} fit images whose pixels have a "
            f"standard deviation of {self.contrast:.2g} on the scale of 0 to 1"
        )
        if self.plausible:
            return f"normalisation plausible: {fits}"
        numbers = "smaller numbers, perhaps pixels from 0 to 1"
        if self.contrast > _BYTES:
            numbers = "larger numbers, perhaps pixels from 0 to 255"
        elif self.contrast > MOST:
            numbers = "larger numbers, perhaps pixels that a standard deviation had divided"
        return (
            f"the stated normalisation cannot be right: {fits}, expected {LEAST:g} to {MOST:g}; "
            f"the teacher was trained on {numbers}: state the mean and standard deviation that it "
            "was trained with"
        )


def normalisation_finding(
    teacher: nn.Module, image_shape: Sequence[int], normalise: Callable[[Tensor], Tensor]
) -> NormalisationFinding:
    """Compare the first statistics layer with artificial images. The teacher is not modified.

    Args:
        teacher: on any device.
        image_shape: (C, H, W).
        normalise: maps images (B, C, H, W) in [0, 1], on the CPU, to the teacher's input.
    """
    images = natural_images(_IMAGES, image_shape, torch.Generator().manual_seed(0))
    twin = freeze(copied(teacher))
    like = next(twin.parameters(), torch.zeros(()))
    seen = _first_layer(twin, normalise(images).to(like.device, like.dtype))
    if seen is None:
        return _unknown("no layer of the teacher that runs has running mean and variance")
    name, (_, variance), (running_mean, running_variance) = seen
    if not (running_mean.any() or (running_variance != 1).any()):
        return _unknown(f"the statistics of its layer {name} are still those of a new layer")
    live = variance > variance.max() * 1e-6
    ratio = (running_variance.double() / variance.double())[live]
    if not len(ratio) or not torch.isfinite(ratio).all():
        return _unknown(f"its layer {name} gives the same for all images")
    contrast = float(images.std() * ratio.clamp_min(0).median().sqrt())
    return NormalisationFinding(layer=name, contrast=contrast)


def natural_images(count: int, image_shape: Sequence[int], randomness: torch.Generator) -> Tensor:
    """Random images (count, C, H, W) in [0, 1] whose amplitude falls as 1 / frequency.

    The channels have most of their variance in common, as those of photographs have. The mean is
    0.5, the standard deviation about 0.2.
    """
    channels, height, width = image_shape
    fields = torch.randn(count, channels + 1, height, width, generator=randomness)
    rows, columns = torch.fft.fftfreq(height), torch.fft.rfftfreq(width)
    frequency = (rows[:, None].square() + columns.square()).sqrt()
    frequency[0, 0] = frequency.flatten()[1:].min() if frequency.numel() > 1 else 1.0
    smooth: Tensor = torch.fft.irfft2(torch.fft.rfft2(fields) / frequency, s=(height, width))
    smooth = smooth / smooth.std().clamp_min(1e-12)
    mixed: Tensor = _SHARED**0.5 * smooth[:, :1] + (1 - _SHARED) ** 0.5 * smooth[:, 1:]
    return (_MEAN + _CONTRAST * mixed).clamp(0, 1)


class _SeenError(Exception):
    """Ends a forward pass at the first statistics layer."""

    def __init__(self, name: str, moments: Moments):
        self.name, self.moments = name, moments
        super().__init__(name)


class _First(BatchNormStatistics):
    """Ends the forward pass at the first layer that is recorded."""

    def record(self, name: str, moments: Moments) -> None:
        raise _SeenError(name, moments)


def _first_layer(network: nn.Module, inputs: Tensor) -> tuple[str, Moments, Moments] | None:
    """Name, input moments and running moments of the first statistics layer that runs, or None.

    The rest of the network does not run.
    """
    statistics = _First(network)
    try:
        with torch.no_grad(), statistics.watching():
            network(inputs)
    except _SeenError as seen:
        return seen.name, seen.moments, statistics.target(seen.name)
    return None


def _unknown(reason: str) -> NormalisationFinding:
    return NormalisationFinding(layer="", contrast=None, unknown=reason)
