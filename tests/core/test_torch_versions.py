"""Each private or version-bound use of torch does what the module says, in this version."""

from __future__ import annotations

import ast
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fastdfkd
from fastdfkd.core import torch_versions

PACKAGE = Path(fastdfkd.__file__).parent
OF_TORCH = {"_C", "_ops", "_utils", "_metadata", "_modules", "_orig_mod", "_overloadpacket"}
"""Private names that say by themselves that they are torch's."""


def private_uses(source: str) -> Iterator[str]:
    """Private names of torch in a module's text, each with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            parts = [*str(node.module).split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            parts, inner = [node.attr], node.value
            while isinstance(inner, ast.Attribute):
                parts, inner = [inner.attr, *parts], inner.value
            root = inner.id if isinstance(inner, ast.Name) else ""
            if root != "torch":
                parts = [part for part in parts if part in OF_TORCH or part.endswith("_hooks")]
        else:
            continue
        for part in parts:
            if part.startswith("_") and not part.startswith("__"):
                yield f"{part} in line {node.lineno}"


@pytest.mark.parametrize(
    "line",
    [
        "torch._C._nn.gelu(x)",
        "torch.ops.mkldnn._convolution_pointwise",
        "from torch.utils._python_dispatch import TorchDispatchMode",
        "from torch.nn import _reduction",
        "network.state_dict()._metadata",
        "module._forward_hooks.clear()",
    ],
)
def test_private_uses_are_found(line: str) -> None:
    assert list(private_uses(line))


def test_no_other_module_names_what_is_private_in_torch() -> None:
    found = {
        str(path.relative_to(PACKAGE)): uses
        for path in PACKAGE.rglob("*.py")
        if path != Path(torch_versions.__file__)
        and (uses := list(private_uses(path.read_text(encoding="utf-8"))))
    }
    assert found == {}


def maps(seed: int = 0) -> Tensor:
    return torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(seed))


FOREACH: dict[str, tuple[list[Any], Any]] = {
    "sub": ([maps(1)], torch.sub),
    "mul": ([maps(1)], torch.mul),
    "div": ([maps(1)], torch.div),
    "clamp_min": ([0.5], torch.clamp_min),
    "norm": ([], torch.linalg.vector_norm),
    "reciprocal": ([], torch.reciprocal),
    "sqrt": ([], torch.sqrt),
}


@pytest.mark.parametrize("name", FOREACH)
def test_multi_tensor_functions_equal_the_functions_of_one_tensor(name: str) -> None:
    others, plain = FOREACH[name]
    tensors = [maps(), maps(2)[:2, :2] + 3]
    arguments = [
        [each[: len(t), : t.shape[1]] for t in tensors] if isinstance(each, Tensor) else each
        for each in others
    ]
    found = getattr(torch_versions, f"foreach_{name}")(tensors, *arguments)
    for number, (mine, t) in enumerate(zip(found, tensors, strict=True)):
        own = [each[number] if isinstance(each, list) else each for each in arguments]
        torch.testing.assert_close(mine, plain(t, *own), equal_nan=True)


def test_multi_tensor_functions_in_place() -> None:
    a, b = maps(), maps(1)
    torch_versions.foreach_add_([a], [b])
    assert torch.equal(a, maps() + b)
    torch_versions.foreach_mul_([a], 2.0)
    assert torch.equal(a, (maps() + b) * 2)
    torch_versions.foreach_copy_([a], [b])
    assert torch.equal(a, b)
    torch_versions.foreach_zero_([a])
    assert not a.any()


def norm_by_hand(x: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    return (x - mean[:, None, None]) / torch.sqrt(var + eps)[:, None, None]


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_batch_norm_takes_an_eps_of_zero(eps: float) -> None:
    check_batch_norm("cpu", eps)


@pytest.mark.gpu
@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_batch_norm_takes_an_eps_of_zero_on_a_gpu(eps: float) -> None:
    check_batch_norm("cuda", eps)


def check_batch_norm(device: str, eps: float) -> None:
    x, mean, var = maps().to(device), torch.arange(3.0).to(device), torch.ones(3).to(device) * 2
    found = torch_versions.batch_norm(x, mean, var, None, None, eps)
    torch.testing.assert_close(found, norm_by_hand(x, mean, var, eps))
    scale, shift = torch.full_like(mean, 3.0), torch.full_like(mean, -1.0)
    scaled = torch_versions.batch_norm(x, mean, var, scale, shift, eps)
    torch.testing.assert_close(scaled, 3 * found - 1)
    half = torch_versions.batch_norm(x.bfloat16(), mean, var, scale, shift, eps)
    assert half.dtype is torch.bfloat16
    torch.testing.assert_close(half.float(), scaled, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("exact", [torch.float32, torch.float64])
def test_batch_moments_have_the_type_asked_for(device: str, exact: torch.dtype) -> None:
    x = maps().to(device, exact)
    mean, var = torch_versions.batch_moments(x, exact)
    assert mean.dtype is var.dtype is exact
    torch.testing.assert_close(mean, x.mean((0, 2, 3)))
    torch.testing.assert_close(var, x.var((0, 2, 3), correction=0))


def test_the_frozen_convolution_is_convolution_addition_and_relu() -> None:
    weight = torch.randn(16, 3, 3, 3, generator=torch.Generator().manual_seed(3))
    if not torch_versions.has_frozen_convolution(weight):
        pytest.skip("this torch has no oneDNN")
    x, bias, geometry = maps(), torch.arange(16.0), ((1, 1), (1, 1), (1, 1), 1)
    packed = torch_versions.packed_weight(weight, geometry, x.shape)
    plain = F.conv2d(x, weight, bias, padding=1)
    other = torch.randn(plain.shape, generator=torch.Generator().manual_seed(4))
    for added, relu in ((None, False), (None, True), (other, False), (other, True)):
        found = torch_versions.frozen_convolution(x, packed, bias, geometry, added, relu)
        expected = plain if added is None else plain + added
        torch.testing.assert_close(found, F.relu(expected) if relu else expected)
    assert torch_versions.frozen_convolutions()


def test_no_frozen_convolution_for_other_types() -> None:
    assert not torch_versions.has_frozen_convolution(torch.zeros(1, 1, 1, 1, dtype=torch.float64))
    assert not torch_versions.has_frozen_convolution(torch.zeros(1, 1, 1, 1, device="meta"))


def test_hardware_without_bfloat16_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not torch_versions.multiplies_bf16("cpu")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert torch_versions.multiplies_bf16("cpu")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert not torch_versions.multiplies_bf16("cuda")
    assert not torch_versions.multiplies_bf16("meta")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_the_default_generator_is_the_one_that_torch_draws_from(device: str) -> None:
    generator = torch_versions.default_generator(torch.device(device))
    kept = generator.get_state()
    generator.manual_seed(7)
    drawn = torch.rand(3, device=device)
    generator.manual_seed(7)
    assert torch.equal(drawn, torch.rand(3, generator=generator, device=device))
    generator.set_state(kept)


def test_hooks_are_seen_and_dropped() -> None:
    layer = nn.Linear(2, 2)
    assert not torch_versions.has_hooks(layer)
    for register in (layer.register_forward_hook, layer.register_forward_pre_hook):
        register(lambda *_: None)
        assert torch_versions.has_hooks(layer)
        torch_versions.drop_hooks(layer)
        assert not torch_versions.has_hooks(layer)


def test_a_state_gets_the_versions_of_its_modules() -> None:
    network = nn.BatchNorm2d(3)
    state = OrderedDict(network.state_dict())
    torch_versions.add_versions(state, network)
    assert state._metadata[""]["version"] == network._version  # type: ignore[attr-defined]


def test_what_torch_compile_did_is_undone() -> None:
    class OptimizedModule:
        _orig_mod = "network"

    assert torch_versions.inside_of_compiled(OptimizedModule()) == "network"
    assert torch_versions.inside_of_compiled(nn.Linear(1, 1)) is None
    layer = nn.Linear(1, 1)
    layer._compiled_call_impl = lambda _: 1 / 0
    torch_versions.uncompile(layer)
    assert layer(torch.zeros(1, 1)).shape == (1, 1)


def test_operators_by_name() -> None:
    softmax = torch_versions.operator("_softmax")
    assert isinstance(softmax, torch_versions.OperatorOverload)
    assert torch_versions.packet_of(softmax) is torch.ops.aten._softmax
    assert torch_versions.operator("no_such_operator") is None


def test_pickles_of_tensors_name_their_makers() -> None:
    tensor = maps()
    maker, arguments = tensor.__reduce_ex__(2)[:2]
    assert maker is torch_versions.rebuild_tensor
    assert torch.equal(maker(*arguments), tensor)
    assert nn.Parameter(tensor).__reduce_ex__(2)[0] is torch_versions.rebuild_parameter
    allowed = torch_versions.names_allowed_in_pickles()
    assert {"torch._utils._rebuild_tensor_v2", "collections.OrderedDict"} <= set(allowed)


def test_a_dispatch_mode_sees_operators() -> None:
    """That it imports no compiler is tested in `test_network_facts.py`."""

    class Seen(torch_versions.DispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            calls.append(func)
            return func(*args, **(kwargs or {}))

    calls: list[Any] = []
    with Seen():
        torch.ones(2) + 1
    assert torch.ops.aten.add.Tensor in calls
