from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from fastdfkd.core.batch import Provenance, SyntheticBatch, to_uint8

IMAGES = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
LABELS = torch.zeros(3, dtype=torch.int64)


def batch(**changes: Any) -> SyntheticBatch:
    values = {"images": IMAGES, "labels": LABELS, "provenance": Provenance(round=4)}
    return SyntheticBatch(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": IMAGES.float()}, "(B, C, H, W) uint8, got (3, 1, 2, 2) torch.float32"),
        ({"images": IMAGES[0]}, "(B, C, H, W) uint8, got (1, 2, 2) torch.uint8"),
        ({"labels": LABELS.int()}, "needs (3,) or (3, 2, 2) int64 labels, got (3,) torch.int32"),
        (
            {"labels": LABELS[:2]},
            "a batch of 3 images needs (3,) or (3, 2, 2) int64 labels, got (2,)",
        ),
        ({"labels": LABELS[:, None]}, "int64 labels, got (3, 1)"),
    ],
)
def test_other_tensors_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        batch(**changes)


def test_labels_may_be_maps() -> None:
    assert batch(labels=LABELS[:, None, None].expand(3, 2, 2)).labels.shape == (3, 2, 2)


def test_timing_a_batch_changes_its_seconds_alone() -> None:
    first = batch()
    timed = first.timed(2.5)
    assert timed.provenance == Provenance(round=4, synthesis_seconds=2.5)
    assert timed.images is first.images
    assert first.provenance.synthesis_seconds == 0


def test_every_level_survives_the_way_there_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(levels.float() / 255), levels)


def test_values_are_rounded_and_clamped() -> None:
    values = torch.tensor([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 254.6 / 255, 1.0, 7.0])
    before = values.clone()
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 254, 255, 255, 255]
    assert torch.equal(values, before)
