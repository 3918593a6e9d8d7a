"""Networks and files of weights that cannot be used: what people give, and what they are told."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fastdfkd.models import build_network, save_weights
from tests.models.builders import write_network

TEACHER = "resnet8-half"


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One mistake. Its message holds all of `says`: what was expected, what came, what to do."""

    says: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    weights: Callable[[Path], Any] | None = None
    """Writes the file `weights`, which the recipe then names."""
    files: Callable[[Path], Any] = lambda folder: None
    needs: str = ""
    """A package without which another message comes."""
    lacks: str = ""
    """A package that is not installed, for this mistake."""


def _state() -> dict[str, torch.Tensor]:
    return build_network(TEACHER, 10, 1).state_dict()


def _bytes(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


def _saved(content: Callable[[], Any]) -> Callable[[Path], Any]:
    return lambda path: torch.save(content(), path)


def _truncated(path: Path) -> None:
    torch.save(_state(), path)
    path.write_bytes(path.read_bytes()[:-300])


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("net/data/0", bytes(10**8))


def _npz(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conv1.npy", b"x")


def _two(path: Path) -> None:
    torch.save({"model": _state(), "ema": {k: v + 1 for k, v in _state().items()}}, path)


def _renamed(path: Path) -> None:
    save_weights(path, {k.replace("layer1", "stage1"): v for k, v in _state().items()})


def _wide(path: Path) -> None:
    save_weights(path, build_network(TEACHER, 100, 1))


def _index(path: Path) -> None:
    path.write_text(json.dumps({"weight_map": {"conv1.weight": "../elsewhere"}}))


def _program(folder: Path) -> None:
    batch = torch.zeros(2, 1, 16, 16)
    torch.export.save(
        torch.export.export(build_network(TEACHER, 10, 1).eval(), (batch,)), folder / "net.pt2"
    )


def _hugging_face(folder: Path, **config: Any) -> None:
    (folder / "hf").mkdir()
    (folder / "hf" / "config.json").write_text(json.dumps(config))


def _model(name: str, **arguments: Any) -> dict[str, Any]:
    return {"teacher.model": name, **({"teacher.arguments": arguments} if arguments else {})}


def _quantised() -> dict[str, torch.Tensor]:
    return {**_state(), "conv1.weight": torch.zeros(8, 1, 3, 3, dtype=torch.int8)}


BAD: dict[str, Bad] = {
    "no such file of weights": Bad(
        settings={"teacher.weights": "absent.pt"}, says=("absent.pt", "no such file", "looked in")
    ),
    "an empty file": Bad(weights=_bytes(b""), says=("expected safetensors", "empty", "copy it")),
    "a Git LFS pointer": Bad(
        weights=_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
        says=("expected safetensors", "a Git LFS pointer", "run `git lfs pull`"),
    ),
    "a web page": Bad(
        weights=_bytes(b"<!DOCTYPE html>"), says=("expected safetensors", "got a web page")
    ),
    "a Keras file": Bad(weights=_bytes(b"\x89HDF\r\n\x1a\n"), says=("expected", "as Keras writes")),
    "a gzip file": Bad(weights=_bytes(b"\x1f\x8b\x08"), says=("expected", "gzip", "unpack it")),
    "noise": Bad(weights=_bytes(bytes(range(99, 200))), says=("expected", "of no known kind")),
    "a truncated archive": Bad(weights=_truncated, says=("damaged or cut short", "copy it again")),
    "a zip bomb": Bad(weights=_bomb, says=("unpacks to 100,000,0", "save or copy it again")),
    "an npz": Bad(weights=_npz, says=("expected safetensors", "npz", "torch.save")),
    "a whole module": Bad(
        weights=_saved(lambda: build_network(TEACHER, 10, 1)),
        says=("expected tensors by name", "pickled Python objects", "model.state_dict()"),
    ),
    "an optimizer": Bad(
        weights=_saved(lambda: {"state": {}, "param_groups": []}),
        says=("expected a network's state dict", "an optimizer's", "save model.state_dict()"),
    ),
    "a list": Bad(
        weights=_saved(lambda: [torch.ones(2)]),
        says=("expected a state dict", "got a list", "save model.state_dict()"),
    ),
    "quantised weights": Bad(
        weights=_saved(_quantised),
        says=("expected floating-point", "conv1.weight is int8", "before the quantisation"),
    ),
    "weights of another architecture": Bad(
        weights=lambda path: save_weights(path, build_network("wrn-16-1", 10, 1)),
        says=("do not fit resnet8-half", "missing: ", "unexpected: ", "set model, data"),
    ),
    "weights with other names": Bad(
        weights=_renamed,
        says=("nearest names", "layer1.0.conv1.weight (8, 8, 3, 3)", "stage1.0.conv1.weight (8, 8"),
    ),
    "weights of other classes": Bad(
        weights=_wide, says=("linear.weight is (100, 32), expected (10, 32)", "set model, data")
    ),
    "two states that fit": Bad(
        weights=_two, says=("expected one state", "'model', 'ema'", "teacher.entry")
    ),
    "an entry that is not there": Bad(
        weights=_two,
        settings={"teacher.entry": "emma"},
        says=("no entry 'emma'", "its entries are 'model', 'ema'"),
    ),
    "an index of files elsewhere": Bad(
        weights=_index, says=("names '../elsewhere'", "expected a file beside it")
    ),
    "a network that looks like a file": Bad(
        settings=_model("nets/best.pth"), says=("expected a network", "file", "under `weights`")
    ),
    "a file without a builder": Bad(
        settings=_model("net.py"), says=("'net.py'", "expected a builder in it, net.py:BUILDER")
    ),
    "no such Python file": Bad(
        settings=_model("absent.py:build"), says=("no file 'absent.py'", "looked in")
    ),
    "a builder that is misspelt": Bad(
        files=write_network,
        settings=_model("nets/small.py:bild"),
        says=("'bild': unknown", "did you mean build", "allowed: Small, build"),
    ),
    "a builder that needs an argument": Bad(
        files=write_network,
        settings=_model("nets/small.py:Small"),
        says=("cannot be called with", "missing a required argument", "`arguments`"),
    ),
    "a builder with one argument too many": Bad(
        files=write_network,
        settings={**_model("nets/small.py:build"), "teacher.positional": [1, 2, 3, 4]},
        says=("the builder takes", "1, 2, 3, 4", "too many positional arguments"),
    ),
    "a file that imports what is beside it": Bad(
        files=lambda folder: (folder / "net.py").write_text("from layers import Block"),
        settings=_model("net.py:build"),
        says=("net.py cannot be run", "No module named 'layers'", "put it into the file"),
    ),
    "a file that is no Python": Bad(
        files=lambda folder: (folder / "net.py").write_text("def build(:"),
        settings=_model("net.py:build"),
        says=("net.py cannot be run", "SyntaxError", "in line 1"),
    ),
    "a network of torchvision's misspelt": Bad(
        settings=_model("torchvision:resnet81"), says=("unknown, did you mean resnet18", "allowed:")
    ),
    "arguments for the table": Bad(
        settings=_model("resnet8", depth=3), says=("arguments (depth)", "takes none")
    ),
    "timm misspelt": Bad(
        needs="timm",
        settings=_model("timm:resnet10x"),
        says=("'resnet10x': unknown", "did you mean", "resnet10t", "timm.list_models()"),
    ),
    "timm by an address": Bad(
        needs="timm",
        settings=_model("timm:hf-hub:timm/resnet18"),
        says=("expected the name of a network", "got an address", "name the file as weights"),
    ),
    "timm not installed": Bad(
        lacks="timm",
        settings=_model("timm:resnet18"),
        says=("needs the package timm", "pip install 'fastdfkd[timm]'"),
    ),
    "transformers not installed": Bad(
        lacks="transformers",
        files=_hugging_face,
        settings=_model("hf:hf"),
        says=("needs the package transformers", "pip install 'fastdfkd[hf]'"),
    ),
    "a name of Hugging Face's hub": Bad(
        settings=_model("hf:microsoft/resnet-18"),
        says=("expected a folder", "found nothing", "nothing is downloaded"),
    ),
    "a language model": Bad(
        needs="transformers",
        files=lambda folder: _hugging_face(folder, model_type="gpt2"),
        settings=_model("hf:hf"),
        says=("hf:hf", "GPT2Config", "AutoModelForImageClassification"),
    ),
    "a state dict as TorchScript": Bad(
        weights=_saved(_state),
        settings=_model("torchscript:weights"),
        says=("expected a TorchScript program", "got another file", "under weights"),
    ),
    "no such program": Bad(settings=_model("pt2:absent.pt2"), says=("no such file", "looked in")),
    "a program for one size of batch": Bad(
        files=_program,
        settings=_model("pt2:net.pt2"),
        says=("for batches of 2 images and no other", "torch.export.export(model.eval()"),
    ),
    "a program as student": Bad(
        files=_program,
        settings={"student.model": "pt2:net.pt2"},
        says=("student.model", "can be trained", "an exported program", "the Python network"),
    ),
    "a teacher with other classes": Bad(
        files=write_network,
        settings=_model("nets/small.py:build", num_classes=12),
        says=("the teacher returns (2, 12)", "expected (2, 10)", "teacher.output_slice"),
    ),
}
