"""Autocast of networks. Weights, statistics and losses stay float32."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from functools import cache
from typing import Literal

import torch

from fastdfkd.core import torch_versions

Precision = Literal["auto", "float32", "bfloat16"]

log = logging.getLogger(__name__)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """bf16 autocast on `device`, disabled for float32."""
    enabled = resolve_precision(device, precision) == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def resolve_precision(device: torch.device, precision: Precision) -> Literal["float32", "bfloat16"]:
    """The precision on a device: `auto` is bfloat16 if the hardware multiplies in it.

    `bfloat16` is used on every device, with a warning if it is emulated.
    """
    if precision == "auto":
        return "bfloat16" if _multiplies_bf16(device.type) else "float32"
    if precision == "bfloat16" and not _multiplies_bf16(device.type):
        _warn_of_emulation(device.type)
    return precision


@cache
def _warn_of_emulation(device_type: str) -> None:
    """Warn once per process."""
    log.warning(
        "this %s does not multiply in bfloat16, and emulation is up to a hundred times slower than "
        "float32: set the precision to auto, which uses what the hardware has",
        device_type,
    )


@cache
def _multiplies_bf16(device_type: str) -> bool:
    return torch_versions.multiplies_bf16(device_type)
