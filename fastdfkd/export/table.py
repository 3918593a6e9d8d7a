"""The formats of `fastdfkd export`, by name."""

from __future__ import annotations

from fastdfkd.export.formats import Format
from fastdfkd.export.huggingface_folder import HuggingFaceFolder
from fastdfkd.export.mlflow_model import MlflowModel
from fastdfkd.export.onnx_file import Onnx
from fastdfkd.export.openvino_folder import OpenVino
from fastdfkd.export.torch_export import Pt2
from fastdfkd.export.torchscript import TorchScript
from fastdfkd.export.weights_file import SafeTensors

FORMATS: dict[str, Format] = {
    "onnx": Onnx(),
    "pt2": Pt2(),
    "safetensors": SafeTensors(),
    "torchscript": TorchScript(),
    "hf": HuggingFaceFolder(),
    "openvino": OpenVino(),
    "mlflow": MlflowModel(),
}
"""Each writes one file or folder, and can run it."""
