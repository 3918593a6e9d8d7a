"""int8 programs: onnxruntime's static quantisation of an onnx file."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.export.compared_images import resized
from fastdfkd.export.deployed import DeployedNetwork, feed_of
from fastdfkd.export.formats import Content
from fastdfkd.export.onnx_file import INPUT, Onnx, write_onnx
from fastdfkd.export.provenance import flat
from fastdfkd.export.torch_export import quiet
from fastdfkd.text.shown import reason

_BATCH = 16
_FILE = "float32.onnx"


class OnnxInt8(Onnx):
    """A graph whose convolutions and matrix products are int8, for onnxruntime."""

    file = "student-int8.onnx"

    def __init__(self, calibration: Tensor, calibrated_on: str) -> None:
        """Set the images.

        Args:
            calibration: (N, C, H, W) uint8, of any size.
            calibrated_on: what messages call them.
        """
        self.calibration, self.calibrated_on = calibration, calibrated_on

    def write(self, content: Content, path: Path) -> None:
        """Export in float32, quantise, add the facts, check."""
        facts = {**content.facts, "int8": {"calibrated_on": self.calibrated_on}}
        write_int8(content.network, content.student.spec, path, flat(facts), self.calibration)


def write_int8(
    network: DeployedNetwork,
    spec: ImageSpec,
    path: Path,
    facts: dict[str, str],
    calibration: Tensor,
    float_file: Path | None = None,
) -> None:
    """Write a network as an int8 graph.

    Weights are symmetric int8 of each output channel, activations uint8. The ranges of activations
    are the least and the largest value on the calibration images.

    Args:
        network: to quantise.
        spec: the images as it reads them.
        path: of the int8 file.
        facts: texts for its metadata.
        calibration: images (N, C, H, W) uint8.
        float_file: an onnx file of the network; None: it is exported first.

    Raises:
        ValueError: the network cannot be exported or quantised.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static, shape_inference

    feeds = feed_of(spec, network.pixels)(resized(calibration, spec))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".int8-") as folder:
        before, prepared = float_file or Path(folder) / _FILE, Path(folder) / "prepared.onnx"
        if float_file is None:
            write_onnx(network, spec, before, {})
        try:
            with quiet(), _no_root_messages():
                shape_inference.quant_pre_process(str(before), str(prepared), auto_merge=True)
                quantize_static(
                    str(prepared),
                    str(path),
                    _reader(feeds),
                    quant_format=QuantFormat.QDQ,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    per_channel=True,
                )
            model = onnx.load(path)
            onnx.helper.set_model_props(model, facts)
            onnx.save(model, path)
            onnx.checker.check_model(str(path), full_check=True)
        except Exception as error:  # onnx and onnxruntime raise many types
            raise ValueError(
                f"onnxruntime cannot quantise {type(network.network).__name__}: {reason(error)}. "
                "Export without --int8"
            ) from error


def _reader(feeds: Tensor) -> Any:
    """What onnxruntime reads calibration images from."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.parts: Iterator[Tensor] = iter(torch.split(feeds, _BATCH))

        def get_next(self) -> dict[str, Any] | None:
            part = next(self.parts, None)
            return None if part is None else {INPUT: part.numpy()}

    return Reader()


@contextmanager
def _no_root_messages() -> Iterator[None]:
    """Hide what onnxruntime's quantisation logs through the root logger."""
    before = logging.root.level
    logging.root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logging.root.setLevel(before)
