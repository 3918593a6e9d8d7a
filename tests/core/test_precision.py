from __future__ import annotations

from typing import Any

import pytest
import torch

from fastdfkd.core import precision as rules
from fastdfkd.core.precision import autocast, resolve_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_matmuls_run_in_the_precision_asked_for(precision: Any, dtype: torch.dtype) -> None:
    weight = torch.ones(2, 2)
    with autocast(CPU, precision):
        assert (weight @ weight).dtype is dtype
    assert (weight @ weight).dtype is torch.float32


@pytest.mark.parametrize("multiplies", [True, False])
def test_auto_takes_what_the_hardware_has_and_emulation_is_warned_of_once(
    multiplies: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rules, "_multiplies_bf16", lambda _: multiplies)
    rules._warn_of_emulation.cache_clear()
    assert resolve_precision(CPU, "auto") == ("bfloat16" if multiplies else "float32")
    assert resolve_precision(CPU, "float32") == "float32"
    assert caplog.records == []
    assert resolve_precision(CPU, "bfloat16") == resolve_precision(CPU, "bfloat16") == "bfloat16"
    assert len(caplog.records) == (0 if multiplies else 1)
