from __future__ import annotations

import pytest
import torch

from fastdfkd.core import confusion as module
from fastdfkd.core.confusion import confusion


def test_rows_and_columns_are_counted_as_pairs() -> None:
    rows, columns = torch.tensor([[0, 0], [1, 2]]), torch.tensor([[0, 1], [1, 1]])
    assert confusion(rows, columns, 3).tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64])
def test_long_assignments_are_counted_in_parts(
    kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 7)
    rows, columns = torch.randint(5, (2, 100)).to(kind)
    found = confusion(rows, columns, 5)
    assert found is not None
    assert found.sum() == 100
    assert all(
        found[r, c] == ((rows == r) & (columns == c)).sum() for r in range(5) for c in range(5)
    )


def test_void_counts_nowhere() -> None:
    rows = torch.tensor([0, 255, 1], dtype=torch.uint8)
    found = confusion(rows, torch.tensor([0, 1, 1]), 2, void=255)
    assert found is not None
    assert found.tolist() == [[1, 0], [0, 1]]


def test_too_many_classes_have_no_matrix() -> None:
    few, many = module.MOST_CLASSES, module.MOST_CLASSES + 1
    assert confusion(torch.zeros(1).long(), torch.zeros(1).long(), few) is not None
    assert confusion(torch.zeros(1).long(), torch.zeros(1).long(), many) is None
