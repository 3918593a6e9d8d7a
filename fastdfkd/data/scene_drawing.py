"""Draws street scenes of textured shapes, with the class of each pixel.

A scene is painted from the back to the front: sky, ground, buildings, trees, signs, cars, persons.
Each part has a texture of its class. Its colours are drawn anew for every part from a wide range
around the class's tint, and the light of the whole scene varies, so that colour alone does not tell
the class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SIDE = 32
"""Width and height of an image, in pixels."""
CLASSES = ("sky", "road", "grass", "building", "tree", "sign", "car", "person")

Pixels = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float64]
_Mask = npt.NDArray[np.bool_]

_TINTS = np.array(
    [
        (150, 170, 200),
        (110, 105, 110),
        (115, 140, 90),
        (160, 125, 105),
        (85, 125, 85),
        (170, 130, 100),
        (130, 100, 130),
        (140, 110, 100),
    ],
    dtype=np.float64,
)
"""Mean colour of each class."""
_Y, _X = np.mgrid[:SIDE, :SIDE].astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class SceneLook:
    """Bounds of what varies between scenes."""

    colours: float = 70.0
    """Largest distance of a part's colour from its class's tint, per channel, of 255."""
    light: tuple[float, float] = (0.6, 1.25)
    """Smallest and largest gain of the whole image; each channel varies by a tenth more."""
    shade: float = 0.25
    """Largest change of brightness from one side of the image to the other, as a share."""
    noise: float = 5.0
    """Standard deviation of the noise of every pixel, of 255."""
    most_buildings: int = 3
    most_trees: int = 2
    most_cars: int = 2
    most_persons: int = 2
    most_signs: int = 2


class _Scene:
    """The canvas: colours (32, 32, 3) and classes (32, 32)."""

    def __init__(self, look: SceneLook, rng: np.random.Generator):
        self.look, self.rng = look, rng
        self.colours = np.zeros((SIDE, SIDE, 3))
        self.classes = np.zeros((SIDE, SIDE), np.uint8)

    def colour(self, kind: int) -> _Floats:
        """A colour (3,) of a class."""
        spread = self.look.colours
        colour: _Floats = _TINTS[kind] + self.rng.uniform(-spread, spread, 3)
        return colour

    def paint(self, mask: _Mask, kind: int, texture: _Floats, colour: _Floats) -> None:
        """Paint a part: its colour plus `texture` (32, 32), which lightens or darkens it."""
        self.colours[mask] = (colour + texture[..., None])[mask]
        self.classes[mask] = kind

    def grain(self, cell: tuple[int, int], strength: float) -> _Floats:
        """Random brightness (32, 32), constant over cells of (height, width) pixels."""
        height, width = (-(-SIDE // side) + 1 for side in cell)
        coarse = self.rng.uniform(-strength, strength, (height, width))
        fine = coarse.repeat(cell[0], 0).repeat(cell[1], 1)
        top, left = (int(self.rng.integers(side)) for side in cell)
        grain: _Floats = fine[top : top + SIDE, left : left + SIDE]
        return grain


def draw_scene(look: SceneLook, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """One scene: pixels (3, 32, 32), and the class (32, 32) of each pixel, 0 to 7."""
    scene = _Scene(look, rng)
    horizon = rng.uniform(0.35, 0.65) * SIDE
    _sky(scene)
    _ground(scene, horizon)
    for _ in range(rng.integers(look.most_buildings + 1)):
        _building(scene, horizon)
    for _ in range(rng.integers(look.most_trees + 1)):
        _tree(scene, horizon)
    for _ in range(rng.integers(look.most_signs + 1)):
        _sign(scene, horizon)
    front = [_car] * rng.integers(look.most_cars + 1)
    front += [_person] * rng.integers(look.most_persons + 1)
    for place in rng.permutation(len(front)):
        front[place](scene, horizon)
    return _lit(scene), scene.classes


def _sky(scene: _Scene) -> None:
    """Smooth from one colour above to another one below."""
    upper, lower = scene.colour(0), scene.colour(0)
    share = (_Y / (SIDE - 1))[..., None]
    scene.colours[:] = (1 - share) * upper + share * lower


def _ground(scene: _Scene, horizon: float) -> None:
    """Grass of upright blades; on it a road with fine grain and light dashes, towards a point."""
    rng = scene.rng
    ground = horizon <= _Y
    scene.paint(ground, 2, scene.grain((3, 1), 45.0), scene.colour(2))
    depth = np.maximum(_Y - horizon, 0.0)
    start, end = rng.uniform(0.2, 0.8, 2) * SIDE
    middle = start + (end - start) * depth / (SIDE - horizon)
    width = rng.uniform(1, 3) + rng.uniform(0.3, 0.9) * depth
    road = ground & (np.abs(_X - middle) < width)
    texture = scene.grain((1, 1), 14.0)
    dashes = (np.abs(_X - middle) < 0.6) & (np.floor(depth / 2) % 2 == 0)
    scene.paint(road, 1, np.where(dashes, 90.0, texture), scene.colour(1))


def _building(scene: _Scene, horizon: float) -> None:
    """A box with a regular grid of windows, which are lighter or darker than the wall."""
    rng = scene.rng
    left, width = rng.uniform(-4, SIDE - 6), rng.uniform(7, 15)
    top, bottom = horizon - rng.uniform(0.35, 1.0) * horizon, horizon + rng.uniform(0, 3)
    mask = (left <= _X) & (left + width > _X) & (top <= _Y) & (bottom > _Y)
    step_x, step_y = rng.integers(3, 5, 2)
    inside = ((_X - np.ceil(left)) % step_x > 0) & ((_Y - np.ceil(top)) % step_y > 0)
    contrast = rng.uniform(35, 80) * rng.choice((-1, 1))
    scene.paint(mask, 3, np.where(inside, contrast, 0.0), scene.colour(3))


def _tree(scene: _Scene, horizon: float) -> None:
    """A crown of three overlapping discs with blotches of two pixels, and a dark trunk."""
    rng = scene.rng
    size, x = rng.uniform(3.5, 6), rng.uniform(0, SIDE)
    foot = horizon + rng.uniform(0, 6)
    y = foot - size * rng.uniform(1.3, 2.0)
    crown = np.zeros((SIDE, SIDE), bool)
    for _ in range(3):
        dx, dy = rng.uniform(-0.5, 0.5, 2) * size
        crown |= (_X - x - dx) ** 2 + (_Y - y - dy) ** 2 < (rng.uniform(0.7, 1.0) * size) ** 2
    trunk = (np.abs(_X - x) < 0.2 * size) & (y < _Y) & (foot > _Y)
    colour = scene.colour(4)
    scene.paint(trunk, 4, np.full((SIDE, SIDE), -60.0), colour)
    scene.paint(crown, 4, scene.grain((2, 2), 55.0), colour)


def _sign(scene: _Scene, horizon: float) -> None:
    """A disc or a diamond with a ring of another brightness, on a pole."""
    rng = scene.rng
    size, x = rng.uniform(3, 5), rng.uniform(3, SIDE - 3)
    foot = horizon + rng.uniform(1, 8)
    y = foot - rng.uniform(2.2, 3.2) * size
    dx, dy = np.abs(_X - x), np.abs(_Y - y)
    distance = np.hypot(dx, dy) if rng.random() < 0.5 else (dx + dy) * 0.8
    pole = (dx < 0.7) & (y < _Y) & (foot > _Y)
    colour = scene.colour(5)
    scene.paint(pole, 5, np.full((SIDE, SIDE), -40.0), colour)
    ring = rng.choice((-1, 1)) * rng.uniform(60, 110)
    scene.paint(distance < size, 5, np.where(distance > 0.55 * size, ring, 0.0), colour)


def _car(scene: _Scene, horizon: float) -> None:
    """A body with a cabin of dark glass, and two black wheels with light hubs."""
    rng = scene.rng
    length = rng.uniform(8, 14)
    height, x = 0.24 * length, rng.uniform(2, SIDE - 2)
    foot = horizon + rng.uniform(2, SIDE - horizon + 2)
    dx, up = _X - x, foot - _Y
    body = (np.abs(dx) < length / 2) & (up > 0.5 * height) & (up < 1.7 * height)
    cabin = (np.abs(dx) < 0.42 * length - 0.5 * (up - 1.7 * height)) & (up >= 1.7 * height)
    cabin &= up < 2.6 * height
    colour = scene.colour(6)
    scene.paint(cabin, 6, np.where(np.abs(dx) < 0.6, 0.0, -75.0), colour)
    scene.paint(body, 6, np.where(up > 1.4 * height, 40.0, 0.0), colour)
    for side in (-0.3, 0.3):
        distance = np.hypot(dx - side * length, up - 0.7 * height)
        wheel = distance < 0.75 * height
        texture = np.where(distance < 0.3 * height, 40.0, -110.0)
        scene.paint(wheel, 6, texture, np.full(3, 120.0))


def _person(scene: _Scene, horizon: float) -> None:
    """A round head, a coat of cross stripes, and dark legs."""
    rng = scene.rng
    size, x = rng.uniform(8, 14), rng.uniform(2, SIDE - 2)
    foot = horizon + rng.uniform(2, SIDE - horizon + 2)
    dx, up = np.abs(_X - x), (foot - _Y) / size
    legs = (dx < 0.13 * size) & (up > 0) & (up <= 0.45)
    coat = (dx < 0.2 * size) & (up > 0.4) & (up < 0.8)
    head = dx**2 + (up * size - 0.9 * size) ** 2 < (0.14 * size) ** 2
    colour = scene.colour(7)
    scene.paint(legs, 7, np.full((SIDE, SIDE), -70.0), colour)
    scene.paint(coat, 7, np.where(_Y % 2 < 1, 45.0, -45.0), colour)
    scene.paint(head, 7, np.full((SIDE, SIDE), 20.0), np.array((190.0, 150.0, 125.0)))


def _lit(scene: _Scene) -> Pixels:
    """The scene's colours under its light, with noise: (3, 32, 32)."""
    rng, look = scene.rng, scene.look
    gain = rng.uniform(*look.light) * rng.uniform(0.9, 1.1, 3)
    slope = rng.uniform(-look.shade, look.shade)
    shade = 1 + slope * (_X / (SIDE - 1) - 0.5)
    lit = scene.colours * gain * shade[..., None]
    lit += rng.normal(0.0, look.noise, lit.shape)
    pixels: Pixels = np.rint(lit.clip(0, 255)).astype(np.uint8).transpose(2, 0, 1)
    return pixels
