"""The format `hf`: a folder with weights, a model card and, where transformers knows it, a config.

A student that was opened as `hf:FOLDER` is written by transformers' own `save_pretrained`, so that
its image-classification pipeline loads it. Of any other student the folder has the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastdfkd.core.answers import logits_in
from fastdfkd.export.formats import Content, Format
from fastdfkd.export.torch_export import METADATA_FILE
from fastdfkd.export.weights_file import SafeTensors
from fastdfkd.models.extras import import_extra
from fastdfkd.runs.folder import write_json, write_text

WEIGHTS = "model.safetensors"
_BILINEAR = 2
"""Number of the filter in Pillow."""


class HuggingFaceFolder(Format):
    """A folder for the Hugging Face hub. Nothing is uploaded."""

    file = "hf"
    pixels = ("normalised",)

    def write(self, content: Content, path: Path) -> None:
        """Write weights, card and facts; config and image processor where transformers knows it."""
        path.mkdir()
        if content.student.known_to_transformers:
            _save_pretrained(content, path)
        else:
            SafeTensors().write(content, path / WEIGHTS)
        write_text(path / "README.md", content.card)
        write_json(path / METADATA_FILE, content.facts)

    def run(self, content: Content, path: Path) -> Callable[[Tensor], Tensor]:
        """Load the weights into a new network."""
        if not content.student.known_to_transformers:
            return SafeTensors().run(content, path / WEIGHTS)
        return _loaded(content, path)

    def answer(self, content: Content, path: Path) -> Callable[[Tensor], Tensor]:
        """Of transformers' own loading, with the folder's image processor."""
        if not content.student.known_to_transformers:
            return super().answer(content, path)
        run = _loaded(content, path)
        transformers = import_extra("transformers", "hf")
        processor = transformers.AutoImageProcessor.from_pretrained(str(path))

        def answer(images: Tensor) -> Tensor:
            pixels = processor(
                list(images), return_tensors="pt", input_data_format="channels_first"
            )
            return run(pixels["pixel_values"])

        return answer


def _loaded(content: Content, path: Path) -> Callable[[Tensor], Tensor]:
    transformers = import_extra("transformers", "hf")
    network: torch.nn.Module = transformers.AutoModelForImageClassification.from_pretrained(
        str(path), local_files_only=True, use_safetensors=True
    ).eval()
    axes = content.student.spec.kind.spatial_axes
    return lambda images: logits_in(network(images), content.network.output, axes)


def _save_pretrained(content: Content, path: Path) -> None:
    network: Any = content.student.network
    spec = content.student.spec
    names = spec.class_labels
    network.config.id2label = dict(enumerate(names))
    network.config.label2id = {name: number for number, name in enumerate(names)}
    network.save_pretrained(str(path), safe_serialization=True)
    write_json(
        path / "preprocessor_config.json",
        {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": spec.shape[1], "width": spec.shape[2]},
            "resample": _BILINEAR,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(spec.mean),
            "image_std": list(spec.std),
        },
    )
