"""How a network wants its pixels: the keys `normalisation`, or `mean` and `std`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, model_validator

from fastdfkd.recipe.numbers import Rate, Real, refuse_bool
from fastdfkd.recipe.section import Section

Moments = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, of images in 0..1."""

NormalisationName = Literal["imagenet", "cifar10", "cifar100", "half", "inception", "none"]

NORMALISATIONS: dict[NormalisationName, Moments] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # As common checkpoints use them; the true standard deviation of CIFAR-10 is (.247, .243, .262).
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "half": ((0.5,), (0.5,)),
    "inception": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
}
"""Those with one number hold for any number of channels."""


class PixelForm(Section):
    """Keys of a network's input: `normalisation`, or `mean` and `std` in units of `pixel_range`."""

    later: ClassVar[frozenset[str]] = frozenset({"normalisation", "mean", "std", "pixel_range"})

    normalisation: NormalisationName | None = None
    """Named mean and standard deviation: `imagenet`, `cifar10`, `cifar100`; `half` and `inception`
    (0.5 and 0.5: pixels from -1 to 1); `none` (pixels from 0 to 1)."""
    mean: tuple[Real, ...] | None = None
    """Mean of each channel, instead of `normalisation`. The network reads (x - mean) / std."""
    std: tuple[Rate, ...] | None = None
    """Standard deviation of each channel, given together with `mean`."""
    pixel_range: Annotated[Literal[1, 255], BeforeValidator(refuse_bool)] = 1
    """The units of `mean` and `std`: pixels from 0 to 1, or from 0 to 255. A network that reads the
    bytes as they are has mean 0 and std 1 with 255."""

    @model_validator(mode="after")
    def _one_form(self) -> PixelForm:
        if self.mean is None and self.std is None:
            if self.pixel_range != 1:
                raise ValueError(
                    "pixel_range gives the units of mean and std, and both are unset: set them. A "
                    "network that reads the bytes as they are has mean 0 and std 1 for each "
                    "channel with pixel_range 255"
                )
            return self
        if self.mean is None or self.std is None:
            missing = "mean" if self.mean is None else "std"
            raise ValueError(f"{missing} is missing: mean and std are given together")
        if self.normalisation is not None:
            raise ValueError(
                f"normalisation is {self.normalisation} and mean and std are given too: keep one "
                "of them"
            )
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"expected one mean and one std for each channel, got {len(self.mean)} means and "
                f"{len(self.std)} deviations"
            )
        self._check_units(self.mean, self.std)
        return self

    def _check_units(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Check that the numbers can be in the units that `pixel_range` states."""
        if self.pixel_range == 1 and max(*mean, *std) > 1:
            raise ValueError(
                f"mean {list(mean)} and std {list(std)} are no numbers of pixels from 0 to 1, "
                "which pixel_range: 1 states: if they are of pixels from 0 to 255, set "
                "pixel_range: 255"
            )
        if self.pixel_range == 255 and 0 < max(mean) <= 1 and max(std) <= 1:
            raise ValueError(
                f"mean {list(mean)} and std {list(std)} look like numbers of pixels from 0 to 1, "
                "and pixel_range is 255: leave pixel_range out, or give both in units of 0 to 255"
            )

    def moments(self, channels: int) -> Moments | None:
        """Mean and standard deviation of images in 0..1, per channel; None if no key says them.

        Raises:
            ValueError: the keys are for another number of channels; the message begins with a key.
        """
        if self.mean is not None and self.std is not None:
            key, mean, std = "mean", self.mean, self.std
        elif self.normalisation is not None:
            key = "normalisation"
            mean, std = NORMALISATIONS[self.normalisation]
            if len(mean) == 1:
                mean, std = mean * channels, std * channels
        else:
            return None
        if len(mean) != channels:
            what = f"{self.normalisation} has" if key == "normalisation" else "got"
            raise ValueError(
                f"{key}: expected {channels} {'number' if channels == 1 else 'numbers'}, one for "
                f"each channel of the images, {what} {len(mean)}"
            )
        scale = self.pixel_range
        return tuple(m / scale for m in mean), tuple(s / scale for s in std)
