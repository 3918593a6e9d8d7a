"""`pt2:FILE`: a `torch.export` program as a teacher, with the statistics that it has.

The program becomes a graph of torch's operators. A batch norm with running estimates becomes a
BatchNorm module under the name that it had, so that its statistics are seen as any other's.
"""

from __future__ import annotations

import operator
import re
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from fastdfkd.core import torch_versions
from fastdfkd.models.builders import Request
from fastdfkd.models.exported_archive import ExportedArchive, Json, NotReadable, dtype_of
from fastdfkd.models.programs import program_file
from fastdfkd.recipe.messages import RecipeError
from fastdfkd.text.shown import reason, shown_name

_ATEN = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
_NOT_CALLED = {"from_file"}  # reads and makes files
_ASSERTIONS = ("_assert", "sym_constrain")
_NUMBERS = {
    *("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow", "getitem"),
    *("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_"),
}
_NORMS = {"batch_norm.default", "_native_batch_norm_legit_no_training.default"}
_LAYERS: dict[int, Callable[..., nn.Module]] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_STRIDED = 7
_EXPORT = (
    "export it in eval mode, for any number of images: torch.export.export(model.eval(), "
    '(images,), dynamic_shapes=({0: torch.export.Dim("batch")},))'
)


def exported_network(name: str, request: Request) -> nn.Module:
    """`pt2:FILE`, what `torch.export.save` wrote, as a frozen network on the CPU.

    Raises:
        RecipeError: there is no such program in the file, it is for other images, it was exported
            in train mode, or it uses what is not an operator of torch's.
    """
    request.refuse_arguments("an exported program")
    path = program_file(name, "pt2", "torch.export program")
    try:
        return _Program(ExportedArchive.read(path), request).network()
    except (NotReadable, ValueError, RuntimeError, OSError, zipfile.BadZipFile) as error:
        raise RecipeError(f"pt2:{shown_name(name)}: {reason(error)}") from error
    except (KeyError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise RecipeError(
            f"pt2:{shown_name(name)}: cannot be read, damaged ({reason(error)}); save it again"
        ) from error


class _Program:
    """Builds the network of an archive."""

    def __init__(self, archive: ExportedArchive, request: Request) -> None:
        self.archive, self.request = archive, request
        self.root, self.graph = nn.Module(), fx.Graph()
        self.values: dict[str, fx.Node] = {}
        """By the names that the archive gives them."""
        self.tensor_names: dict[str, str] = {}
        """Of inputs that are parameters, buffers or constants: where they are in the network."""
        self.norms: dict[str, str] = {}
        """BatchNorm modules by the name of their running mean."""

    def network(self) -> nn.Module:
        self._read_inputs()
        for node in self.archive.graph["nodes"]:
            self._read_node(node)
        outputs = self._read_outputs()
        self.graph.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
        network = fx.GraphModule(self.root, self.graph, "ExportedProgram")
        network.graph.eliminate_dead_code()
        network.recompile()
        network.requires_grad_(False)
        return network.eval()

    def _read_inputs(self) -> None:
        images: list[str] = []
        for spec in self.archive.inputs:
            kind, content = next(iter(spec.items()))
            if kind == "user_input":
                images.append(content["arg"]["as_tensor"]["name"])
            elif kind in ("parameter", "buffer", "tensor_constant"):
                name = content[f"{kind}_name"]
                self.tensor_names[content["arg"]["name"]] = name
                _put(self.root, name, self.archive.tensors[name], trained=kind == "parameter")
            else:
                raise NotReadable(f"it takes a {kind}, expected images alone")
        if len(images) != 1:
            raise NotReadable(f"it takes {len(images)} inputs, expected images alone")
        self._check_images(self.archive.graph["tensor_values"][images[0]]["sizes"])
        self.values[images[0]] = self.graph.placeholder(images[0])

    def _check_images(self, sizes: Sequence[Json]) -> None:
        fixed = [size.get("as_int") for size in sizes]
        if len(fixed) != 4:
            raise NotReadable(f"it takes {len(fixed)} dimensions, expected images (B, C, H, W)")
        if fixed[0] is not None:
            raise NotReadable(f"it is for batches of {fixed[0]} images and no other; {_EXPORT}")
        for size, wanted in zip(fixed[1:], self.request.shape, strict=True):
            if size is not None and size != wanted:
                raise NotReadable(
                    f"it is for images of shape {tuple(fixed[1:])}, the recipe's have "
                    f"{self.request.shape}"
                )

    def _read_outputs(self) -> list[fx.Node]:
        kinds = [next(iter(spec)) for spec in self.archive.outputs]
        if any(kind.endswith("_mutation") for kind in kinds):
            raise NotReadable(f"it changes its own tensors, as in train mode; {_EXPORT}")
        return [self._argument(output) for output in self.archive.graph["outputs"]]

    def _read_node(self, node: Json) -> None:
        if "as_graph" in {kind for each in node["inputs"] for kind in each["arg"]}:
            raise NotReadable(f"it uses {node['target']}, expected operators of torch alone")
        function = _function(node["target"])
        if function is None:
            return
        named = [(each["name"], each.get("kind"), each["arg"]) for each in node["inputs"]]
        norm = self._norm(node, {name: arg for name, _, arg in named})
        if norm is not None:
            made: Any = self.graph.call_module(norm, (self._argument(node["inputs"][0]["arg"]),))
            self.values[node["outputs"][0]["as_tensor"]["name"]] = made
            return
        made = self.graph.call_function(
            function,
            tuple(self._argument(arg) for _, kind, arg in named if kind != 2),
            {name: self._argument(arg) for name, kind, arg in named if kind == 2},
        )
        self._bind(made, node["outputs"])

    def _bind(self, made: fx.Node, outputs: Sequence[Json]) -> None:
        """Keep what a node gives under the archive's names."""
        lists = len(outputs) == 1 and outputs[0].get("as_tensors")
        names = [each["name"] for each in lists] if lists else [_name(each) for each in outputs]
        if len(outputs) == 1 and not lists and names[0]:
            self.values[names[0]] = made
            return
        for index, name in enumerate(names):
            if name:
                self.values[name] = self.graph.call_function(operator.getitem, (made, index))

    def _norm(self, node: Json, arguments: dict[str, Json]) -> str | None:
        """Where the BatchNorm module for a node is; None for another node."""
        if node["target"].removeprefix("torch.ops.aten.") not in _NORMS:
            return None
        if arguments.get("training", {}).get("as_bool"):
            raise NotReadable(f"its batch norms are in train mode; {_EXPORT}")
        parts = {
            key: self.tensor_names.get(arguments[key].get("as_tensor", {}).get("name", ""))
            for key in ("running_mean", "running_var", "weight", "bias")
        }
        mean = parts["running_mean"]
        computed = any(
            parts[key] is None and "as_tensor" in arguments[key] for key in ("weight", "bias")
        )
        if mean is None or parts["running_var"] is None or computed:
            return None
        tensors = {key: self.archive.tensors[name] for key, name in parts.items() if name}
        if mean not in self.norms:
            rank = len(
                self.archive.graph["tensor_values"][_name(node["inputs"][0]["arg"])]["sizes"]
            )
            owner, _, last = mean.rpartition(".")
            path = owner if last == "running_mean" and owner else f"statistics{len(self.norms)}"
            eps = arguments["eps"]["as_float"]
            _put_norm(self.root, path, tensors, _LAYERS[rank], eps)
            self.norms[mean] = path
        return self.norms[mean]

    def _argument(self, argument: Json) -> Any:
        """A value of the graph, or a constant."""
        kind, value = next(iter(argument.items()))
        if kind in ("as_tensor", "as_sym_int", "as_sym_bool", "as_sym_float", "as_optional_tensor"):
            return self._value(value)
        if kind in ("as_tensors", "as_sym_ints", "as_sym_floats", "as_optional_tensors"):
            return [self._value(each) for each in value]
        if kind == "as_none":
            return None
        if kind in _PLAIN:
            return value
        if kind == "as_scalar_type":
            return dtype_of(value)
        if kind == "as_memory_format":
            return _MEMORY_FORMATS[value]
        if kind == "as_layout" and value == _STRIDED:
            return torch.strided
        if kind == "as_device":
            return torch.device(value["type"])
        raise NotReadable(f"an operator of it takes {kind.removeprefix('as_')}, which is not read")

    def _value(self, value: Json) -> Any:
        if "as_tensor" in value:
            value = value["as_tensor"]
        if "as_none" in value:
            return None
        if (name := value.get("name", value.get("as_name"))) is None:
            return next(iter(value.values()))  # a number among symbols
        if name not in self.values and name in self.tensor_names:
            self.values[name] = self.graph.get_attr(self.tensor_names[name])
        return self.values[name]


_PLAIN = {"as_int", "as_ints", "as_float", "as_floats", "as_string", "as_bool", "as_bools"}


def _name(argument: Json) -> str:
    """The name of an output; empty where there is none."""
    value = next(iter(argument.values()))
    return str(value.get("name", value.get("as_name", ""))) if isinstance(value, dict) else ""


def _function(target: str) -> Callable[..., Any] | None:
    """The operator that a node names; None for an assertion, which nothing depends on.

    Raises:
        NotReadable: it is no operator of torch's on tensors.
    """
    module, _, last = target.rpartition(".")
    if module in ("_operator", "operator") and last in _NUMBERS:
        return getattr(operator, last)  # type: ignore[no-any-return]
    found = _ATEN.fullmatch(target)
    if found is not None and found[1].startswith(_ASSERTIONS):
        return None
    if found is not None and found[1] not in _NOT_CALLED:
        packet = getattr(torch.ops.aten, found[1], None)
        overload = getattr(packet, found[2], None)
        if isinstance(overload, torch_versions.OperatorOverload):
            return overload
    raise NotReadable(f"it uses {shown_name(target)}, expected operators of torch alone")


def _put(root: nn.Module, name: str, tensor: Tensor, *, trained: bool) -> None:
    """Register a tensor under a dotted name."""
    owner, last = _owner(root, name)
    if trained and tensor.is_floating_point():
        owner.register_parameter(last, nn.Parameter(tensor))
    else:
        owner.register_buffer(last, tensor)


def _put_norm(
    root: nn.Module,
    path: str,
    tensors: dict[str, Tensor],
    layer: Callable[..., nn.Module],
    eps: float,
) -> None:
    """Register a BatchNorm module with these tensors in the place of what is there."""
    affine = "weight" in tensors or "bias" in tensors
    norm = layer(len(tensors["running_mean"]), eps=eps, affine=affine)
    norm.load_state_dict(tensors, strict=False)
    owner, last = _owner(root, path)
    if before := dict(owner.named_children()).get(last):
        for name, buffer in before.named_buffers(recurse=False):
            if name not in dict(norm.named_buffers()):
                norm.register_buffer(name, buffer)
            elif name == "num_batches_tracked":
                norm.num_batches_tracked = buffer
    owner.add_module(last, norm)


def _owner(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that a dotted name is in, made where it is missing, and the name's last part."""
    *path, last = name.split(".")
    for part in path:
        if part not in dict(root.named_children()):
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    return root, last
