"""The programs that a profile measures: a network in torch and onnxruntime, by type of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from fastdfkd.core.answers import Output
from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.core.network_facts import NetworkFacts
from fastdfkd.core.network_use import NetworkUse, copied
from fastdfkd.export.deployed import DeployedNetwork
from fastdfkd.export.onnx_file import answer_of, onnx_session, write_onnx
from fastdfkd.export.quantisation import write_int8
from fastdfkd.models import save_weights
from fastdfkd.text.shown import reason

Answer = Callable[[Tensor], Tensor]
"""Maps images (B, C, H, W) uint8 to logits (B, K, *space) float32."""
Numbers = Literal["float32", "bfloat16", "int8"]


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredNetwork:
    """A network of the profile."""

    role: Literal["teacher", "student"]
    network: nn.Module
    spec: ImageSpec
    """The images as it reads them."""
    output: Output

    def facts(self) -> NetworkFacts:
        """Parameters and multiply-accumulates."""
        use = NetworkUse(output=self.output, spatial_axes=self.spec.kind.spatial_axes)
        return NetworkFacts.of(self.network, use, self.spec.shape, count_macs=True)

    def deployed(self, dtype: torch.dtype = torch.float32) -> DeployedNetwork:
        """A copy that reads uint8 pixels, with weights of another type."""
        twin = copied(self.network).to(dtype)
        return DeployedNetwork(twin, self.spec, "uint8", self.output, dtype)


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """A network in one runtime with one type of numbers."""

    of: MeasuredNetwork
    runtime: Literal["torch", "onnxruntime"]
    numbers: Numbers
    file: Path
    """Its weights, or the program itself."""
    open: Callable[[], Answer]
    """Opens it anew; what it returns shares no tensor with another program."""

    @property
    def name(self) -> str:
        """`student, onnxruntime, int8`."""
        return f"{self.of.role}, {self.runtime}, {self.numbers}"


def torch_programs(measured: MeasuredNetwork, folder: Path, notes: list[str]) -> Iterator[Program]:
    """The network in torch: float32 and bfloat16.

    Args:
        measured: the network.
        folder: for the weights' files.
        notes: gets a line for a program that is left out.
    """
    yield _torch_program(measured, "float32", torch.float32, folder)
    half = _torch_program(measured, "bfloat16", torch.bfloat16, folder)
    try:
        with torch.inference_mode():
            half.open()(torch.zeros(1, *measured.spec.shape, dtype=torch.uint8))
    except Exception as error:  # a network may compute in float32 inside
        notes.append(f"{half.name} is left out: {reason(error)}")
    else:
        yield half


def _torch_program(
    measured: MeasuredNetwork, numbers: Numbers, dtype: torch.dtype, folder: Path
) -> Program:
    file = folder / f"{measured.role}-{numbers}.safetensors"
    save_weights(file, copied(measured.network).to(dtype))
    return Program(
        of=measured,
        runtime="torch",
        numbers=numbers,
        file=file,
        open=lambda: measured.deployed(dtype),
    )


def onnx_programs(
    measured: MeasuredNetwork,
    folder: Path,
    threads: int,
    calibration: Tensor | None,
    notes: list[str],
) -> Iterator[Program]:
    """The network in onnxruntime: float32, and int8 where there are calibration images.

    Args:
        measured: the network.
        folder: for the programs' files.
        threads: of onnxruntime.
        calibration: images (N, C, H, W) uint8 of any size, or None.
        notes: gets a line for a program that is left out.
    """
    network, spec = measured.deployed(), measured.spec
    whole, small = (folder / f"{measured.role}-{numbers}.onnx" for numbers in ("float32", "int8"))
    try:
        write_onnx(network, spec, whole, {})
        yield _onnx_program(measured, "float32", whole, threads)
        if calibration is not None:
            write_int8(network, spec, small, {}, calibration, whole)
            yield _onnx_program(measured, "int8", small, threads)
    except ValueError as error:
        notes.append(f"{measured.role} in onnxruntime is left out: {error}")


def _onnx_program(measured: MeasuredNetwork, numbers: Numbers, file: Path, threads: int) -> Program:
    return Program(
        of=measured,
        runtime="onnxruntime",
        numbers=numbers,
        file=file,
        open=lambda: answer_of(onnx_session(file, threads)),
    )
