"""The format `openvino`: an onnx program in OpenVINO's own format, run by OpenVINO on the CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastdfkd.export.formats import Content, Format
from fastdfkd.export.onnx_file import INPUT, OUTPUT, write_onnx
from fastdfkd.export.provenance import flat
from fastdfkd.models.extras import import_extra
from fastdfkd.text.shown import reason

PROGRAM = "student.xml"
"""The graph. OpenVINO writes the weights beside it, into `student.bin`."""
_PACKAGES = ("onnx", "onnxscript", "openvino")


class OpenVino(Format):
    """A folder with a graph and its weights.

    `openvino.convert_model` is not used: it reports its use over the network.
    """

    file = "openvino"

    def require(self) -> None:
        """Check that openvino is there, and what writes onnx files."""
        for package in _PACKAGES:
            import_extra(package, "openvino", "openvino")

    def write(self, content: Content, path: Path) -> None:
        """Export to onnx, convert, add the facts to the graph's `rt_info`.

        Raises:
            ValueError: torch cannot export the network, or OpenVINO cannot read it.
        """
        import openvino

        path.mkdir()
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".onnx-") as folder:
            source = Path(folder) / "student.onnx"
            write_onnx(content.network, content.student.spec, source, {})
            try:
                model = openvino.Core().read_model(str(source))
                for key, text in flat(content.facts).items():
                    model.set_rt_info(text, key.split(":", 1))
                openvino.save_model(model, str(path / PROGRAM), compress_to_fp16=False)
            except Exception as error:  # openvino raises RuntimeError and types of its own
                raise ValueError(
                    f"openvino cannot read the onnx program of "
                    f"{type(content.network.network).__name__} ({reason(error)}): export to onnx "
                    "instead"
                ) from error

    def run(self, content: Content, path: Path) -> Callable[[Tensor], Tensor]:
        """Compile for the CPU, in float32: by default OpenVINO rounds to bfloat16 on some CPUs."""
        import openvino

        program: Any = openvino.Core().compile_model(
            str(path / PROGRAM), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        return lambda images: torch.from_numpy(program({INPUT: images.numpy()})[OUTPUT].copy())
