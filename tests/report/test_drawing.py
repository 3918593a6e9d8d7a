from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastdfkd.report.drawing import FILLS, legend, legend_inches, picture, style
from tests.hostile import TEXTS

MANY = 40


def test_many_settings_differ_in_greyscale_too() -> None:
    styles = [style(index) for index in range(MANY)]
    assert len({tuple(one.values()) for one in styles}) == MANY
    assert len({(one["linestyle"], one["marker"]) for one in styles}) == MANY
    for before, after in pairwise(styles):
        assert not set(before.values()) & set(after.values()), "consecutive styles share nothing"


def drawn(path: Path, index: int) -> np.ndarray:
    """The dark pixels of a line in that style, drawn in black."""
    with picture(path, 4, 3) as axes:
        axes.plot([0, 1, 2], [0, 1, 0], markersize=9, **(style(index) | {"color": "black"}))
        axes.axis("off")
    with Image.open(path) as image:
        return np.asarray(image.convert("L")) < 128


@pytest.mark.parametrize("pair", [(0, 7), (0, 4), (0, 11), (1, 29)])
def test_styles_that_share_a_colour_line_or_marker_look_different(
    pair: tuple[int, int], tmp_path: Path
) -> None:
    one, other = (drawn(tmp_path / f"{index}.png", index) for index in pair)
    assert (one != other).sum() > 50


def test_parts_of_a_bar_differ_in_shade_and_pattern() -> None:
    shades = [
        0.2126 * r + 0.7152 * g + 0.0722 * b
        for r, g, b in (
            (int(fill["facecolor"][i : i + 2], 16) for i in (1, 3, 5)) for fill in FILLS
        )
    ]
    assert sorted(shades) == shades
    assert min(b - a for a, b in pairwise(shades)) > 40
    assert len({fill["hatch"] for fill in FILLS}) == len(FILLS)


def test_a_large_legend_can_contain_any_name(tmp_path: Path) -> None:
    from fastdfkd.text.safe_text import printable

    names = [printable(text) for text in (*TEXTS, "$broken^{", "\\frac")]
    with picture(tmp_path / "p.png", 8, 5 + legend_inches(names)) as axes:
        for index, name in enumerate(names):
            axes.plot([0, 1], [index, index], label=name, **style(index))
        legend(axes, names)
        assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == names
    assert (tmp_path / "p.png").stat().st_size > 10_000
