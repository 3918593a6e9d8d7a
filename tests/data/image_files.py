"""Small image files for the tests of readers: each class has a colour of its own."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fastdfkd.core.image_spec import ImageSpec

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
NAMES = tuple(COLOURS)


def spec_of(names: tuple[str, ...] = NAMES, shape: tuple[int, int, int] = (3, 8, 8)) -> ImageSpec:
    channels = shape[0]
    return ImageSpec(
        name="files",
        shape=shape,
        num_classes=len(names) or 3,
        class_names=names,
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
    )


def picture(name: str, size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGB", size, COLOURS[name])


def content(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    held = io.BytesIO()
    image.save(held, kind, **settings)
    return held.getvalue()


def tree(root: Path, names: tuple[str, ...] = NAMES, each: int = 2) -> Path:
    """A folder for each class, with images of its colour."""
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(each):
            (root / name / f"{number}.png").write_bytes(content(picture(name)))
    return root


def zipped(folder: Path, file: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, prefix + path.relative_to(folder).as_posix())
    return file


def arrays(each: int = 2) -> tuple[Any, Any]:
    """(N, 8, 8, 3) uint8 and (N,) labels in the order of `NAMES`."""
    labels = np.repeat(np.arange(len(NAMES)), each)
    return np.stack([np.asarray(picture(NAMES[label])) for label in labels]), labels


def colours_of(images: Any) -> list[str]:
    """The names of the colours of images (N, 3, H, W), by their centre."""
    names = {colour: name for name, colour in COLOURS.items()}
    side = images.shape[2] // 2
    return [names[tuple(image[:, side, side].tolist())] for image in images]


def map_spec(classes: int = 3, shape: tuple[int, int, int] = (3, 8, 8)) -> ImageSpec:
    """Images with a class for each pixel."""
    return replace(spec_of((), shape), num_classes=classes, task="segmentation")


def scene(
    rng: np.random.Generator, classes: int = 3, size: tuple[int, int] = (8, 8)
) -> tuple[Any, Any]:
    """An image (H, W, 3) whose red is 50 times the class, and its map (H, W), in blocks of 2."""
    height, width = size
    blocks = rng.integers(0, classes, (-(-height // 2), -(-width // 2)), dtype=np.uint8)
    values = blocks.repeat(2, 0).repeat(2, 1)[:height, :width]
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    image[..., 0] = 50 * values
    return image, values


def write_scenes(root: Path, names: tuple[str, ...], **how: Any) -> list[Any]:
    """Images in `root/images` and maps in `root/labels`, as PNG files; returns the maps."""
    rng, maps = np.random.default_rng(0), []
    for name in names:
        image, values = scene(rng, **how)
        for folder, array in (("images", image), ("labels", values)):
            path = root / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(Image.fromarray(array)))
        maps.append(values)
    return maps
