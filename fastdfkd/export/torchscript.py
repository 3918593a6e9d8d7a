"""The format `torchscript`: a traced program, for runtimes that read no other."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastdfkd.export.deployed import example_of
from fastdfkd.export.formats import Content, Format
from fastdfkd.export.torch_export import METADATA_FILE
from fastdfkd.text.shown import reason


class TorchScript(Format):
    """A program that `torch.jit.trace` recorded. Python that depends on the images is not in it."""

    file = "student.torchscript.pt"

    def write(self, content: Content, path: Path) -> None:
        """Trace and save.

        Raises:
            ValueError: torch cannot trace the network.
        """
        network, example = content.network, example_of(content.student.spec, content.network.pixels)
        extra = {METADATA_FILE: json.dumps(content.facts, indent=2)}
        try:
            with torch.no_grad(), warnings.catch_warnings(action="ignore"):
                program: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                    network, example, check_trace=False
                )
                torch.jit.save(program, str(path), _extra_files=extra)
        except Exception as error:  # torch raises many types
            raise ValueError(
                f"torch.jit cannot trace {type(network.network).__name__} ({reason(error)}): "
                "export to pt2 or safetensors instead"
            ) from error

    def run(self, content: Content, path: Path) -> Callable[[Tensor], Tensor]:
        """Load with torch.jit."""
        with warnings.catch_warnings(action="ignore"):
            program: Callable[[Tensor], Tensor] = torch.jit.load(  # type: ignore[no-untyped-call]
                str(path)
            )
        return program
