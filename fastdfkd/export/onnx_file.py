"""The format `onnx`: written by torch's exporter, checked by onnx, run by onnxruntime."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastdfkd.export.deployed import DeployedNetwork, dynamic_axes, example_of
from fastdfkd.export.formats import Content, Format
from fastdfkd.export.provenance import flat
from fastdfkd.export.torch_export import quiet
from fastdfkd.models.extras import import_extra
from fastdfkd.text.shown import reason

if TYPE_CHECKING:
    from fastdfkd.core.image_spec import ImageSpec

INPUT, OUTPUT = "images", "logits"
"""Names in the graph."""
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_LARGEST = 2**31 - 2**24
"""Bytes of weights that fit into one file of protobuf."""


def require_onnx(what: str) -> None:
    """Check that the packages of the extra `export` are there.

    Raises:
        RecipeError: one is not. Says which command installs it.
    """
    for package in _PACKAGES:
        import_extra(package, "export", what)


def write_onnx(
    network: DeployedNetwork, spec: ImageSpec, path: Path, facts: dict[str, str]
) -> None:
    """Export a network to one file, with texts in its metadata, and check the file.

    Raises:
        ValueError: torch cannot export it, or onnx refuses the file.
    """
    import onnx

    if sum(each.numel() * each.element_size() for each in network.state_dict().values()) > _LARGEST:
        raise ValueError("onnx: the weights are larger than 2 GiB, which one file cannot hold")
    try:
        # onnxscript prints what it has optimised
        with torch.no_grad(), quiet(), redirect_stdout(sys.stderr):
            program: Any = torch.onnx.export(
                network,
                (example_of(spec, network.pixels),),
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=(dynamic_axes(spec),),
            )
        model = program.model_proto
        onnx.helper.set_model_props(model, facts)
        onnx.save(model, path)
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # torch and onnx raise many types
        raise ValueError(
            f"torch.onnx cannot export {type(network.network).__name__} ({reason(error)}): its "
            "forward pass must not depend on the values or the number of the images, and every "
            "operation must be one of onnx. Export to pt2 or safetensors instead"
        ) from error


def onnx_session(path: Path, threads: int | None = None) -> Any:
    """A session of onnxruntime on the CPU.

    Args:
        path: of the file.
        threads: of one operation; None: onnxruntime chooses. Threads do not spin while they wait.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def answer_of(session: Any) -> Callable[[Tensor], Tensor]:
    """Maps what the program reads to logits."""
    return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])


class Onnx(Format):
    """A graph that onnxruntime and many other runtimes execute."""

    file = "student.onnx"

    def require(self) -> None:
        """Check that onnx, onnxscript and onnxruntime are there."""
        require_onnx("onnx")

    def write(self, content: Content, path: Path) -> None:
        """Export, add the facts, check."""
        write_onnx(content.network, content.student.spec, path, flat(content.facts))

    def run(self, content: Content, path: Path) -> Callable[[Tensor], Tensor]:
        """Run with onnxruntime on the CPU."""
        return answer_of(onnx_session(path))
