"""Networks of torchvision and timm by name. Nothing is downloaded unless the recipe asks for it.

`arguments.weights` (torchvision) and `arguments.pretrained` (timm) are such wishes.
"""

from __future__ import annotations

import difflib
import warnings
from types import ModuleType
from typing import Any

from torch import nn

from fastdfkd.models.builders import Request, called
from fastdfkd.models.extras import import_extra
from fastdfkd.recipe.messages import RecipeError, unknown
from fastdfkd.text.shown import reason, shown


def torchvision_network(name: str, request: Request) -> nn.Module:
    """`torchvision:NAME`, a classifier of torchvision's.

    Where the images do not have three channels, its first convolution is made anew for theirs.

    Raises:
        RecipeError: torchvision has no classifier of that name, or refuses the arguments.
    """
    from torchvision import models

    if name not in (known := models.list_models(module=models)):
        raise RecipeError(unknown(f"torchvision:{shown(name)}", name, known))
    given = {"num_classes": request.num_classes, **request.arguments}
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of initial weights
        network = called(
            models.get_model_builder(name), f"torchvision:{name}", request.positional, given
        )
    return read_channels(network, request.channels, f"torchvision:{name}")


def read_channels(network: nn.Module, channels: int, name: str) -> nn.Module:
    """Have the first convolution of a network of RGB images read as many channels, in place.

    Args:
        network: its first convolution with 3 input channels reads the images.
        channels: of the images. With 3 the network stays as it is.
        name: of the network, for messages.

    Returns:
        The network.

    Raises:
        RecipeError: no convolution reads 3 channels.
    """
    if channels == 3:
        return network
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3 and module.groups == 1:
            above, _, last = path.rpartition(".")
            fresh = nn.Conv2d(
                channels,
                module.out_channels,
                module.kernel_size,  # type: ignore[arg-type]
                module.stride,  # type: ignore[arg-type]
                module.padding,  # type: ignore[arg-type]
                module.dilation,  # type: ignore[arg-type]
                bias=module.bias is not None,
            )
            setattr(network.get_submodule(above), last, fresh)
            return network
    raise RecipeError(f"{name} reads 3 channels, the images have {channels}")


def timm_network(name: str, request: Request) -> nn.Module:
    """`timm:NAME`, a network of timm's, for the images' classes, channels and size.

    Raises:
        RecipeError: timm is not installed, has no network of that name, or refuses the arguments.
    """
    timm = import_extra("timm", "timm")
    if ":" in name or "/" in name:
        raise RecipeError(
            f"timm:{shown(name)}: expected the name of a network, got an address, whose content "
            "would be downloaded: download it yourself and name the file as weights"
        )
    if not timm.is_model(name):
        raise RecipeError(_unknown_to_timm(timm, name))
    given = {
        "num_classes": request.num_classes,
        "in_chans": request.channels,
        **_fixed_size(timm, name, request),
        **request.arguments,
    }
    return called(timm.create_model, f"timm:{name}", (name, *request.positional), given)


def _unknown_to_timm(timm: ModuleType, name: str) -> str:
    close = difflib.get_close_matches(name[:60], timm.list_models(), n=5, cutoff=0.5)
    meant = f", did you mean {' or '.join(close)}?" if close else ""
    return f"timm:{shown(name)}: unknown{meant}; timm.list_models() lists all names"


def _fixed_size(timm: ModuleType, name: str, request: Request) -> dict[str, Any]:
    """The images' size for a network that is built for one size (most transformers)."""
    try:
        settings = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # a tag behind the name's dot
        raise RecipeError(f"timm:{shown(name)}: {reason(error)}") from error
    if not getattr(settings, "fixed_input_size", False):
        return {}
    return {"img_size": request.shape[1:]}
