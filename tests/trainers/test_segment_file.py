"""Mapped image segments are those that were saved; damage is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastdfkd.trainers.segment_file import mapped_images
from fastdfkd.trainers.state_file import save_state


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    draws = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 5, 4), (1, 3, 5, 4), (3, 3, 5, 4)]
    images = [torch.randint(256, s, dtype=torch.uint8, generator=draws) for s in shapes]
    save_state(tmp_path / "images", {"rounds": [4, 2, 12], "images": images})
    return tmp_path / "images"


def test_the_images_are_those_that_were_saved(segment: Path) -> None:
    draws, found = torch.Generator().manual_seed(0), mapped_images(segment)
    assert list(found) == [4, 2, 12]
    for count, images in zip((2, 1, 3), found.values(), strict=True):
        expected = torch.randint(256, (count, 3, 5, 4), dtype=torch.uint8, generator=draws)
        assert torch.equal(images, expected)


@pytest.mark.parametrize("damage", ["missing", "short", "long", "header", "empty", "other"])
def test_damage_is_an_error(segment: Path, damage: str) -> None:
    content = segment.read_bytes()
    match damage:
        case "missing":
            segment.unlink()
        case "short":
            segment.write_bytes(content[:-1])
        case "long":
            segment.write_bytes(content + b"0")
        case "header":
            segment.write_bytes(content[:8] + b"x" + content[9:])
        case "empty":
            segment.write_bytes(b"")
        case _:
            save_state(segment, {"rounds": [1], "images": [torch.zeros(1, 3, 5, 4)]})
    with pytest.raises(ValueError, match="is damaged, or no image segment"):
        mapped_images(segment)
