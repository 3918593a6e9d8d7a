"""Autocast for the networks; weights, statistics and losses stay float32."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from functools import cache
from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]

log = logging.getLogger(__name__)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """bf16 autocast on `device`, or nothing for float32."""
    enabled = resolved(device, precision) == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def resolved(device: torch.device, precision: Precision) -> Literal["float32", "bfloat16"]:
    """What `precision` means on a device: `auto` is bf16 where the hardware multiplies in it.

    bf16 that is asked for by name is used everywhere, with a warning where it is emulated.
    """
    if precision == "auto":
        return "bfloat16" if _multiplies_bf16(device.type) else "float32"
    if precision == "bfloat16" and not _multiplies_bf16(device.type):
        _warn_of_emulation(device.type)
    return precision


@cache
def _warn_of_emulation(device_type: str) -> None:
    """Once a process."""
    log.warning(
        "this %s does not multiply in bfloat16: emulated it is up to a hundred times slower than "
        "float32; `auto` takes what the hardware has",
        device_type,
    )


@cache
def _multiplies_bf16(device_type: str) -> bool:
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device_type == "cpu":
        return any(
            getattr(torch.cpu, name, bool)()  # private names, which come and go between versions
            for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        )
    return False
