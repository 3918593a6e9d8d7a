"""All uses of torch that are private or differ between the versions that `pyproject.toml` allows.

No other module of the package names a private attribute of torch; `test_torch_versions.py` checks
this. A new version of torch is therefore tried by this module's tests, and adopted here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

# One call for a list of tensors. torch's own optimisers use the same functions.
foreach_add_: Any = torch._foreach_add_
foreach_clamp_min: Any = torch._foreach_clamp_min
foreach_copy_: Any = torch._foreach_copy_
foreach_div: Any = torch._foreach_div
foreach_mul: Any = torch._foreach_mul
foreach_mul_: Any = torch._foreach_mul_
foreach_norm: Any = torch._foreach_norm
foreach_reciprocal: Any = torch._foreach_reciprocal
foreach_sqrt: Any = torch._foreach_sqrt
foreach_sub: Any = torch._foreach_sub
foreach_zero_: Any = torch._foreach_zero_

rebuild_parameter: Callable[..., Any] = torch._utils._rebuild_parameter
rebuild_tensor: Callable[..., Any] = torch._utils._rebuild_tensor_v2
"""What a pickle of a tensor names as its maker."""

OperatorOverload = torch._ops.OpOverload
"""The type of an operator in an exported graph."""


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Base of contexts that see every operator. A subclass defines `__torch_dispatch__`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: otherwise torch imports its compiler, to leave this mode out of it."""
        return False


def operator(name: str, overload: str = "default") -> Any:
    """An operator of torch's, such as `aten::_softmax.default`; None: this version lacks it."""
    return getattr(getattr(torch.ops.aten, name, None), overload, None)


def packet_of(overload: Any) -> Any:
    """The operator that an overload belongs to."""
    return overload._overloadpacket


def batch_norm(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """BatchNorm of x (B, C, ...) by given statistics (C,); eps may be 0.

    Calls the kernel behind `F.batch_norm`, which refuses an eps of 0 since torch 2.11.
    """
    cudnn = torch.backends.cudnn.enabled
    return torch.batch_norm(x, weight, bias, mean, var, False, 0.0, eps, cudnn)


def batch_moments(x: Tensor, exact: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of x (B, C, ...), each (C,) of type `exact`.

    The kernel takes the type of its results from that of running estimates, which stay unused.
    """
    unused = x.new_zeros(x.shape[1], dtype=exact)
    mean, var = torch.batch_norm_update_stats(x, unused, unused, 0.0)
    return mean, var


def has_frozen_convolution(weight: Tensor) -> bool:
    """Whether torch has oneDNN's convolution with addition and ReLU for a weight on the CPU."""
    if weight.device.type != "cpu" or not torch._C._has_mkldnn:
        return False
    if weight.dtype is torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    return weight.dtype in (torch.float32, torch.bfloat16) and hasattr(
        torch.ops.mkldnn, "_convolution_pointwise"
    )


def packed_weight(weight: Tensor, geometry: tuple[Any, ...], shape: Sequence[int]) -> Tensor:
    """A weight in the layout that oneDNN chooses for images of a shape (B, C, H, W).

    Args:
        weight: (C', C / groups, kh, kw), for which `has_frozen_convolution` is true.
        geometry: padding, stride, dilation and groups.
        shape: of the images.
    """
    pack: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
    packed: Tensor = pack(weight.to_mkldnn(), *geometry, shape)
    return packed


def frozen_convolution(
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    geometry: tuple[Any, ...],
    other: Tensor | None,
    relu: bool,
) -> Tensor:
    """relu(conv(x) + other) in one oneDNN call; `other` and the ReLU are optional.

    Args:
        x: (B, C, H, W) on the CPU.
        packed: result of `packed_weight`.
        bias: (C',).
        geometry: padding, stride, dilation and groups.
        other: has the shape of the result, and the type of x.
        relu: whether negative results are set to 0.
    """
    convolution: Any = torch.ops.mkldnn._convolution_pointwise
    common = (packed, bias, *geometry)
    result: Tensor
    if other is None:
        result = convolution(x, *common, "relu" if relu else "none", [], "")
    else:
        result = convolution.binary(
            x, other, *common, "add", 1.0, "relu" if relu else None, [], None
        )
    return result


def frozen_convolutions() -> list[Any]:
    """The operators behind `frozen_convolution`, for counters of operations; empty without."""
    found = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
    return [] if found is None else [found]


def multiplies_bf16(device_type: str) -> bool:
    """Whether the hardware has instructions that multiply in bfloat16."""
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device_type == "cpu":
        return any(
            getattr(torch.cpu, name, bool)()  # some versions lack these names
            for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        )
    return False


def default_generator(device: torch.device) -> torch.Generator:
    """The random generator that functions without a generator of their own use on a device."""
    if device.type != "cuda":
        return torch.default_generator
    index = torch.cuda.current_device() if device.index is None else device.index
    found: torch.Generator = torch.cuda.default_generators[index]
    return found


def has_hooks(module: nn.Module) -> bool:
    """Whether a module has hooks that run before or after its forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def drop_hooks(module: nn.Module) -> None:
    """Remove the hooks of `has_hooks`."""
    module._forward_hooks.clear()
    module._forward_pre_hooks.clear()


def uncompile(module: nn.Module) -> None:
    """Undo `module.compile()`."""
    module._compiled_call_impl = None


def inside_of_compiled(network: Any) -> Any:
    """The network that `torch.compile` wrapped; None: it wrapped none, or another thing."""
    if type(network).__name__ == "OptimizedModule":  # importing its class would import the compiler
        return getattr(network, "_orig_mod", None)
    return None


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` for torch's compiler, which compiles it in its first call and raises if it cannot.

    It is compiled as a whole, for fixed shapes, without the compiler's own CUDA graphs, and draws
    the random numbers that it would draw uncompiled. The compiler takes as many processes as this
    one has threads, unless TORCHINDUCTOR_COMPILE_THREADS says how many. Importing it takes seconds.
    """
    from torch._inductor import config

    if "TORCHINDUCTOR_COMPILE_THREADS" not in os.environ:
        config.compile_threads = torch.get_num_threads()

    def run(*arguments: Any) -> Any:
        return function(*arguments)

    # The compiler counts what it made for a code object and stops at 8: each part has its own.
    own = FunctionType(run.__code__.replace(), run.__globals__, "run", None, run.__closure__)
    options: Any = {"triton.cudagraphs": False, "fallback_random": True}
    made: Callable[..., Any] = torch.compile(own, fullgraph=True, dynamic=False, options=options)
    return made


def add_versions(state: Any, network: nn.Module) -> None:
    """Give a state (an `OrderedDict`) the version numbers of the network's modules."""
    state._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]


def names_allowed_in_pickles() -> Mapping[str, Any]:
    """What `torch.load(weights_only=True)` may make, by `module.name`."""
    found: Mapping[str, Any] = torch._weights_only_unpickler._get_allowed_globals()
    return found
