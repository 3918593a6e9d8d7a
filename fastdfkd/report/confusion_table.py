"""A confusion matrix for a page: a table for few classes, a picture for many, the mistakes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fastdfkd.report.table import share
from fastdfkd.runs.details import Confusion

MOST_IN_A_TABLE = 20
"""Classes of a matrix that is shown as a table; one of more classes is a picture."""
_MISTAKES = 10
_LEVELS = 5
_SIDE = 720  # pixels of the picture, about


@dataclass(frozen=True)
class Cell:
    """A cell of the table."""

    count: int
    shade: str
    """Class in the page's style: how large a share of its row it is; empty for an empty cell."""


def cells(confusion: Confusion, classes: int) -> list[list[Cell]]:
    """The rows of the matrix, from class 0."""
    totals = _row_totals(confusion)
    rows = [[Cell(0, "")] * classes for _ in range(classes)]
    for row, column, count in confusion.cells:
        level = min(int(count / totals[row] * _LEVELS) + 1, _LEVELS)
        rows[row][column] = Cell(count, f"{'s' if row == column else 'o'}{level}")
    return rows


def _row_totals(confusion: Confusion) -> Counter[int]:
    totals: Counter[int] = Counter()
    for row, _, count in confusion.cells:
        totals[row] += count
    return totals


def mistakes(confusion: Confusion, names: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """The ten largest cells beside the diagonal: row, column, number, share of the row."""
    totals = _row_totals(confusion)
    wrong = sorted((-count, row, column) for row, column, count in confusion.cells if row != column)
    return [
        (names[row], names[column], f"{-count:,}", share(-count / totals[row]))
        for count, row, column in wrong[:_MISTAKES]
    ]


def picture(confusion: Confusion, classes: int) -> bytes:
    """The matrix as a PNG, one square per cell: white for none, black for the whole row."""
    import numpy as np
    from PIL import Image

    matrix = np.zeros((classes, classes))
    for row, column, count in confusion.cells:
        matrix[row, column] = count
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    grey = (255 * (1 - shares**0.5)).round().astype(np.uint8)  # the root shows small shares too
    zoom = max(_SIDE // classes, 1)
    content = io.BytesIO()
    Image.fromarray(grey.repeat(zoom, 0).repeat(zoom, 1)).save(content, format="PNG")
    return content.getvalue()
