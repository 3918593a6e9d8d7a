"""Mapped image segments are those that were saved; damage is an error."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from fastdfkd.trainers.segment_file import in_file_order, mapped_images, write_segment
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


def write(path: Path, images: dict[int, np.ndarray]) -> str:
    path.touch()
    return write_segment(path, list(images), (images[r] for r in in_file_order(list(images))))


@pytest.mark.parametrize("count", [1, 2, 11, 123])
def test_a_segment_that_is_written_round_by_round_is_that_of_the_library(
    count: int, tmp_path: Path
) -> None:
    """From eleven rounds on the file has them in another order."""
    draws = np.random.default_rng(0)
    images = {7 * n: draws.integers(256, size=(2, 3, 5, 4), dtype=np.uint8) for n in range(count)}
    digest = write(tmp_path / "ours", images)
    save_state(tmp_path / "whole", {"rounds": list(images), "images": list(images.values())})
    content = (tmp_path / "ours").read_bytes()
    assert content == (tmp_path / "whole").read_bytes()
    assert digest == hashlib.sha256(content).hexdigest()
    assert all(
        np.array_equal(images[r], got) for r, got in mapped_images(tmp_path / "ours").items()
    )


@pytest.mark.parametrize(
    "other",
    [np.zeros((1, 3, 5, 4), np.uint8), np.zeros((2, 3, 5, 4), np.float32)],
    ids=["shape", "type"],
)
def test_a_round_unlike_those_before_is_an_error(other: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the images of round 5 are"):
        write(tmp_path / "ours", {4: np.zeros((2, 3, 5, 4), np.uint8), 5: other})


def test_a_missing_round_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ours").touch()
    with pytest.raises(ValueError, match="shorter"):
        write_segment(tmp_path / "ours", [1, 2], [np.zeros((2, 3, 5, 4), np.uint8)])
