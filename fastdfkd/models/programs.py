"""TorchScript programs from files."""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path

import torch
from torch import nn

from fastdfkd.models.builders import Request
from fastdfkd.models.file_kinds import Program, program_in
from fastdfkd.recipe.messages import RecipeError
from fastdfkd.text.shown import reason, shown_name

_CODE_BYTES = 64 * 2**20
"""A program's code is compressed in its archive; its weights are not."""


def program_file(name: str, source: str, expected: Program) -> Path:
    """A file that holds a program of the kind that `source` is for.

    Raises:
        RecipeError: there is no such file, or it holds something else, or would fill the memory.
    """
    path = Path(name).expanduser()
    what = f"{source}:{shown_name(name)}"
    if not os.path.isfile(path):  # unlike Path.is_file, quiet about impossible names
        raise RecipeError(f"{what}: no such file (looked in {shown_name(Path.cwd())})")
    try:
        found = program_in(path)
        if found == expected:
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > path.stat().st_size + _CODE_BYTES:
                raise ValueError(f"its archive unpacks to {unpacked:,} bytes")
            return path
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise RecipeError(f"{what}: cannot be read, damaged ({reason(error)})") from error
    came = f"a {found}" if found else "another file"
    hint = f"model={_SOURCES[found]}:FILE" if found else "a file of weights is named under weights"
    raise RecipeError(f"{what}: expected a {expected}, got {came}; {hint}")


_SOURCES: dict[Program, str] = {"TorchScript program": "torchscript", "torch.export program": "pt2"}


def script_network(name: str, request: Request) -> nn.Module:
    """`torchscript:FILE`, what `torch.jit.save` wrote, on the CPU.

    Raises:
        RecipeError: there is no such program in the file, or it cannot be loaded.
    """
    request.refuse_arguments("a TorchScript program")
    path = program_file(name, "torchscript", "TorchScript program")
    try:
        with warnings.catch_warnings(action="ignore"):  # TorchScript is deprecated, and works
            network: nn.Module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, OSError, ValueError) as error:
        raise RecipeError(
            f"torchscript:{shown_name(name)}: cannot be loaded ({reason(error)}); save it again "
            f"with torch {torch.__version__.partition('+')[0]} or earlier"
        ) from error
    return network
