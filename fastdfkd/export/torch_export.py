"""Programs of torch.export: the format `pt2`."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastdfkd.export.deployed import DeployedNetwork, dynamic_axes, example_of
from fastdfkd.export.formats import Content, Format
from fastdfkd.text.shown import reason

if TYPE_CHECKING:
    from fastdfkd.core.image_spec import ImageSpec

METADATA_FILE = "metadata.json"
"""Extra file of a program: what it is, as JSON."""


def exported_program(network: DeployedNetwork, spec: ImageSpec) -> torch.export.ExportedProgram:
    """A network as a program that takes any batch, and any size where labels have one.

    Raises:
        ValueError: torch cannot export it. The message has torch's reason.
    """
    example = example_of(spec, network.pixels)
    sizes = {axis: torch.export.Dim.DYNAMIC for axis in dynamic_axes(spec)}
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(network, (example,), dynamic_shapes=(sizes,))
    except Exception as error:  # torch raises many types
        raise ValueError(
            f"torch.export cannot export {type(network.network).__name__} ({reason(error)}): its "
            "forward pass must not depend on the values or the number of the images. Export to "
            "safetensors, or give another student"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what exporters of torch and onnx log and warn about their own code."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir", "mlflow")]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings(action="ignore"):
        for each in loggers:
            each.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)


class Pt2(Format):
    """A program of torch.export. Loading it needs torch, and no code of the network."""

    file = "student.pt2"

    def write(self, content: Content, path: Path) -> None:
        """Export and save."""
        program = exported_program(content.network, content.student.spec)
        extra = {METADATA_FILE: json.dumps(content.facts, indent=2)}
        with quiet():
            torch.export.save(program, path, extra_files=extra)

    def run(self, content: Content, path: Path) -> Callable[[Tensor], Tensor]:
        """Load with torch.export."""
        with quiet():
            program: Callable[[Tensor], Tensor] = torch.export.load(path).module()
        return program
