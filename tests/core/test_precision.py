from __future__ import annotations

from typing import Any

import pytest
import torch

from fastdfkd.core.precision import autocast


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_matmuls_run_in_the_precision_asked_for(precision: Any, dtype: torch.dtype) -> None:
    weight = torch.ones(2, 2)
    with autocast(torch.device("cpu"), precision):
        assert (weight @ weight).dtype is dtype
    assert (weight @ weight).dtype is torch.float32
