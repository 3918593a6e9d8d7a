"""Images of the letters A to Z in random poses and colours: 32 x 32 RGB.

The letters are drawn from the font files of the matplotlib package, so no download is needed. The
test split uses fonts that the train split does not have. The images are drawn once from a fixed
seed and cached; a damaged cache file is made again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

import numpy as np
import torch

from fastdfkd.data.cache import cached_arrays
from fastdfkd.data.glyph_drawing import LETTERS, SIDE, Pixels, Pose, draw_letters
from fastdfkd.data.images import LabelledImages, Split

TRAIN_FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique"),
    *("DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralBolIta", "cmb10", "cmr10", "cmmi10", "cmtt10"),
)
TEST_FONTS = (
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif-Bold",
    "STIXGeneralItalic",
    "cmss10",
    "cmti10",
)
"""Fonts of the test split alone. The other fonts of matplotlib have no plain Latin letters."""

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class GlyphSettings:
    """Everything that the pixels depend on. Other settings get another cache file."""

    train_per_letter: int = 600
    test_per_letter: int = 100
    seed: int = 0
    pose: Pose = field(default_factory=Pose)
    train_fonts: tuple[str, ...] = TRAIN_FONTS
    test_fonts: tuple[str, ...] = TEST_FONTS

    def digest(self) -> str:
        """SHA-256 (hex) of the settings and the version of the drawing code."""
        return hashlib.sha256(json.dumps([_VERSION, asdict(self)]).encode()).hexdigest()


def load_glyphs(split: Split, settings: GlyphSettings | None = None) -> LabelledImages:
    """The 15,600 training or 2,600 test images (N, 3, 32, 32), with equally many of each letter."""
    settings = settings or GlyphSettings()
    shapes: dict[str, tuple[int, ...]] = {}
    for part in ("train", "test"):
        rows = _rows(settings, part)
        shapes |= {f"{part}_images": (rows, 3, SIDE, SIDE), f"{part}_labels": (rows,)}
    name = f"glyphs-{settings.digest()[:16]}"
    arrays = cached_arrays(name, shapes, lambda: draw_glyphs(settings))
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    return LabelledImages(torch.from_numpy(images), torch.from_numpy(labels).long())


def draw_glyphs(settings: GlyphSettings) -> dict[str, Pixels]:
    """Draw `{train,test}_images` (N, 3, 32, 32) and `{train,test}_labels` (N,), all uint8."""
    arrays = {}
    for stream, split in enumerate(("train", "test")):
        rng = np.random.default_rng([settings.seed, stream])
        labels = np.arange(_rows(settings, split)) % len(LETTERS)
        rng.shuffle(labels)
        fonts = settings.train_fonts if split == "train" else settings.test_fonts
        arrays[f"{split}_images"] = draw_letters(labels, fonts, settings.pose, rng)
        arrays[f"{split}_labels"] = labels.astype(np.uint8)
    return arrays


def _rows(settings: GlyphSettings, split: str) -> int:
    each = settings.train_per_letter if split == "train" else settings.test_per_letter
    return each * len(LETTERS)
