"""Gives the lazy layers of a network (`nn.LazyConv2d` and the like) their shapes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fastdfkd.models.builders import said
from fastdfkd.recipe.messages import RecipeError


def shape_lazy_layers(network: nn.Module, image_shape: Sequence[int]) -> None:
    """Run a network that has lazy layers on one black image, in place, so that they have shapes.

    Its layers draw their initial weights from torch's global random state. No statistics change.

    Args:
        network: of float32, on the CPU. Without lazy layers it is not run.
        image_shape: (C, H, W).

    Raises:
        RecipeError: it cannot read such an image.
    """
    if not any(map(is_lazy, (*network.parameters(), *network.buffers()))):
        return
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *image_shape))
    except Exception as error:  # a user's forward may raise anything
        raise RecipeError(
            "it has lazy layers, whose shapes follow from an image, and it cannot read "
            f"one of shape {tuple(image_shape)} ({said(error)}): set input.shape to that of its "
            "images, or call it once in the builder"
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training
