"""Evenly spaced elements."""

from __future__ import annotations

import torch

from fastdfkd.core.even_spacing import evenly_spaced


def test_elements_are_evenly_spaced_in_every_dimension() -> None:
    values = torch.arange(35).reshape(5, 7)
    assert evenly_spaced(values, (3, 3)).tolist() == [[0, 3, 6], [14, 17, 20], [28, 31, 34]]
    assert evenly_spaced(values, (1, 2)).tolist() == [[0, 6]]
    assert torch.equal(evenly_spaced(values, (5, 7)), values)
