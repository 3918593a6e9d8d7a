"""What an evaluation can measure: the columns, how texts call them, and how they are shown."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """One figure of an evaluation."""

    name: str
    """What texts and headings call it."""
    unit: Literal["share", "nats", "count"] = "share"
    """`share`: from 0 to 1, shown in percent."""

    @property
    def heading(self) -> str:
        """The name at the beginning of a line: `Agreement`, `mIoU`."""
        return self.name[0].upper() + self.name[1:] if self.name.islower() else self.name

    def show(self, value: float) -> str:
        """A value with its unit: `94.2%`, `0.031 nats`, `2`."""
        match self.unit:
            case "share":
                return f"{value:.1%}"
            case "nats":
                return f"{value:.3g} nats"
            case "count":
                return f"{value:.0f}"


REAL: Mapping[str, Figure] = {
    "accuracy": Figure("accuracy"),
    "top5_accuracy": Figure("top-5 accuracy"),
    "mean_iou": Figure("mIoU"),
    "pixel_accuracy": Figure("pixel accuracy"),
    "agreement": Figure("agreement"),
}
"""On held-out real images, by column of `metrics.csv`."""

SYNTHETIC: Mapping[str, Figure] = {
    "synthetic_agreement": Figure("agreement on synthetic images"),
    "synthetic_agreement_mixed": Figure("agreement on mixed synthetic images"),
    "synthetic_agreement_augmented": Figure("agreement on augmented synthetic images"),
    "synthetic_kl": Figure("KL on synthetic images", "nats"),
    "synthetic_teacher_confidence": Figure("teacher's confidence on synthetic images"),
    "synthetic_coverage": Figure("class coverage on synthetic images"),
    "synthetic_unseen_classes": Figure("classes never predicted", "count"),
}
"""On held-out synthetic images, by column. `core.held_out.agreement_figures` defines them."""

FIGURES: Mapping[str, Figure] = {**REAL, **SYNTHETIC}
"""All of them, in the order of the columns."""

SHARES = tuple(name for name, figure in FIGURES.items() if figure.unit == "share")
"""Those between 0 and 1."""

_OF_MAPS = ("mean_iou", "pixel_accuracy")
"""Those on real images that only networks for segmentation have."""

_OF_IMAGES = ("accuracy", "top5_accuracy")
"""Those that only classifiers have."""

MAIN = ("accuracy", "mean_iou", "synthetic_agreement")
"""The figures by which students can be compared."""


def main_figure(measured: Collection[str]) -> str:
    """The figure by which students are compared, of those that a run measured.

    Accuracy or mIoU where it is measured, otherwise the agreement with the teacher on synthetic
    images; `accuracy` if none is.
    """
    return next((name for name in MAIN if name in measured), MAIN[0])


def shown_columns(measured: Collection[str]) -> tuple[str, ...]:
    """The figures that a table shows, of runs that measured these.

    Those of the task on real images, unless the runs measured on synthetic ones only; those on
    synthetic images as far as they are measured.
    """
    synthetic = tuple(name for name in SYNTHETIC if name in measured)
    if synthetic and not REAL.keys() & set(measured):
        return synthetic
    left_out = _OF_IMAGES if set(_OF_MAPS) & set(measured) else _OF_MAPS
    return (*(name for name in REAL if name not in left_out), *synthetic)


def measured(values: Mapping[str, float | None]) -> dict[str, float]:
    """The figures of an evaluation among `values`, without those that are None or NaN."""
    return {
        name: value
        for name in FIGURES
        if (value := values.get(name)) is not None and not math.isnan(value)
    }
