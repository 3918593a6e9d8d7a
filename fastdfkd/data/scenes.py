"""Street scenes with the class of each pixel: 32 x 32 RGB, eight classes.

The scenes are drawn once from a fixed seed and cached; a damaged cache file is made again. Training
and test scenes come from streams of their own. `data/scene_drawing.py` says what a scene is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

import numpy as np
import torch

from fastdfkd.data.cache import cached_arrays
from fastdfkd.data.images import LabelledImages, Split
from fastdfkd.data.scene_drawing import SIDE, Pixels, SceneLook, draw_scene

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """Everything that pixels and maps depend on. Other settings get another cache file."""

    train: int = 4000
    test: int = 1000
    seed: int = 0
    look: SceneLook = field(default_factory=SceneLook)

    def digest(self) -> str:
        """SHA-256 (hex) of the settings and the version of the drawing code."""
        return hashlib.sha256(json.dumps([_VERSION, asdict(self)]).encode()).hexdigest()


def load_scenes(split: Split, settings: SceneSettings | None = None) -> LabelledImages:
    """The 4,000 training or 1,000 test scenes (N, 3, 32, 32), with maps (N, 32, 32) uint8."""
    settings = settings or SceneSettings()
    shapes: dict[str, tuple[int, ...]] = {}
    for part, count in (("train", settings.train), ("test", settings.test)):
        shapes |= {f"{part}_images": (count, 3, SIDE, SIDE), f"{part}_maps": (count, SIDE, SIDE)}
    name = f"scenes-{settings.digest()[:16]}"
    arrays = cached_arrays(name, shapes, lambda: draw_scenes(settings))
    images, maps = arrays[f"{split}_images"], arrays[f"{split}_maps"]
    return LabelledImages(torch.from_numpy(images), torch.from_numpy(maps))


def draw_scenes(settings: SceneSettings) -> dict[str, Pixels]:
    """Draw `{train,test}_images` (N, 3, 32, 32) and `{train,test}_maps` (N, 32, 32), all uint8."""
    arrays: dict[str, Pixels] = {}
    for stream, (split, count) in enumerate((("train", settings.train), ("test", settings.test))):
        rng = np.random.default_rng([settings.seed, stream])
        drawn = [draw_scene(settings.look, rng) for _ in range(count)]
        images, maps = zip(*drawn, strict=True)
        arrays |= {f"{split}_images": np.stack(images), f"{split}_maps": np.stack(maps)}
    return arrays
