"""The format `mlflow`: a model folder of MLflow, which its servers load without a pickle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fastdfkd.export.deployed import dynamic_axes, example_of
from fastdfkd.export.formats import Content, Format
from fastdfkd.export.torch_export import quiet
from fastdfkd.text.shown import reason

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

_REQUIREMENTS = ("mlflow", "torch", "numpy")


class MlflowModel(Format):
    """A program of torch.export in MLflow's pytorch flavour, with signature and input example."""

    file = "mlflow"

    def write(self, content: Content, path: Path) -> None:
        """Save the folder.

        Raises:
            ValueError: torch cannot export the network.
        """
        import mlflow.pytorch

        spec, network = content.student.spec, content.network
        example = example_of(spec, network.pixels).numpy()
        try:
            with torch.no_grad(), quiet():
                mlflow.pytorch.save_model(
                    network,
                    str(path),
                    serialization_format="pt2",
                    input_example=example,
                    signature=_signature(content, example),
                    pip_requirements=_requirements(),
                    metadata={"fastdfkd": content.facts},
                )
        except Exception as error:  # torch and MLflow raise many types
            raise ValueError(
                f"mlflow: {type(network.network).__name__} cannot be exported ({reason(error)}): "
                "its forward pass must not depend on the values or the number of the images. "
                "Export to safetensors, or give another student"
            ) from error

    def run(self, content: Content, path: Path) -> Callable[[Tensor], Tensor]:
        """Load as MLflow's servers do."""
        import mlflow.pyfunc

        with quiet():
            model: Any = mlflow.pyfunc.load_model(str(path), model_config={"device": "cpu"})
        return lambda images: torch.from_numpy(model.predict(images.numpy()))


def _signature(content: Content, example: np.ndarray[Any, Any]) -> ModelSignature:
    """Types and shapes of input and output; -1 where a size may vary."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    spec = content.student.spec
    free = dynamic_axes(spec)
    answer = spec.kind.logits_shape(1, spec.shape)
    read = [-1 if axis in free else size for axis, size in enumerate(example.shape)]
    given = [-1 if axis in free else size for axis, size in enumerate(answer)]
    return ModelSignature(
        inputs=Schema([TensorSpec(example.dtype, tuple(read))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), tuple(given))]),
    )


def _requirements() -> list[str]:
    from importlib.metadata import version

    return [f"{name}=={version(name)}" for name in _REQUIREMENTS]
