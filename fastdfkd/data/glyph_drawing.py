"""Draws letters of font files in random poses and colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SIDE = 32
"""Width and height of an image, in pixels."""

_STENCIL = 128
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Bounds of the random changes to a letter. Each value is drawn uniformly within them."""

    rotation: float = 25.0
    """Largest rotation in either direction, in degrees."""
    scale: tuple[float, float] = (0.4, 0.9)
    """Smallest and largest length of the letter's longer side, as a share of the image's side."""
    shear: float = 0.3
    """Largest slant in either direction, as the tangent of its angle."""
    shift: float = 3.0
    """Largest shift in either direction, in pixels."""
    contrast: float = 60.0
    """Smallest difference between the lumas (0..255) of letter and background."""


def draw_letters(
    labels: npt.NDArray[np.int64], fonts: Sequence[str], pose: Pose, rng: np.random.Generator
) -> Pixels:
    """Images of letters (N, 3, 32, 32), each in a randomly drawn font.

    Args:
        labels: (N,) positions in the alphabet, 0..25.
        fonts: file names without ending, in matplotlib's fonts folder.
        pose: bounds of pose and colours.
        rng: source of all random draws.

    Raises:
        ValueError: a font file is missing.
    """
    stencils = [[_stencil(font, letter) for letter in LETTERS] for font in fonts]
    chosen = rng.integers(len(fonts), size=len(labels))
    drawn = [_draw(stencils[f][label], pose, rng) for f, label in zip(chosen, labels, strict=True)]
    return np.stack(drawn)


def _draw(stencil: Image.Image, pose: Pose, rng: np.random.Generator) -> Pixels:
    """One letter in a random pose and two random colours, (3, 32, 32): drawn at 64 x 64, halved."""
    turn = np.deg2rad(rng.uniform(-pose.rotation, pose.rotation))
    slant = np.array([[1.0, rng.uniform(-pose.shear, pose.shear)], [0.0, 1.0]])
    size = rng.uniform(*pose.scale) * 2 * SIDE / _STENCIL
    shift = rng.uniform(-pose.shift, pose.shift, size=2) * 2
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    back = np.linalg.inv(size * rotation @ slant)
    offset = _STENCIL / 2 - back @ (SIDE + shift)
    coefficients = (*back[0], offset[0], *back[1], offset[1])
    double = stencil.transform(
        (2 * SIDE, 2 * SIDE), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )
    ink = np.asarray(double.reduce(2), dtype=np.float64) / 255
    letter, ground = _colours(pose.contrast, rng)
    pixels: npt.NDArray[np.float64] = ground[:, None, None] + np.multiply.outer(
        letter - ground, ink
    )
    return np.rint(pixels).astype(np.uint8)


def _colours(contrast: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Two RGB colours (2, 3) in 0..255 whose lumas (ITU-R BT.601) differ by `contrast` or more."""
    while True:
        colours = rng.uniform(0, 255, size=(2, 3))
        luma = colours @ np.array([0.299, 0.587, 0.114])
        if abs(luma[0] - luma[1]) >= contrast:
            return colours


def _stencil(font: str, letter: str) -> Image.Image:
    """The letter in white on black, centred, scaled until its longer side is 128 pixels."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    if not path.is_file():
        raise ValueError(f"glyphs: expected the font {path} of matplotlib; reinstall matplotlib")
    face = ImageFont.truetype(str(path), 160, layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = face.getbbox(letter)
    width, height = int(right - left), int(bottom - top)
    drawn = Image.new("L", (width, height))
    ImageDraw.Draw(drawn).text((-left, -top), letter, fill=255, font=face)
    share = _STENCIL / max(width, height)
    drawn = drawn.resize(
        (max(1, round(width * share)), max(1, round(height * share))), Image.Resampling.BOX
    )
    stencil = Image.new("L", (_STENCIL, _STENCIL))
    stencil.paste(drawn, ((_STENCIL - drawn.width) // 2, (_STENCIL - drawn.height) // 2))
    return stencil
