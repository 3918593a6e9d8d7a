"""Small networks and recipe sections for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fastdfkd.core.augment import Normalisation
from fastdfkd.core.methods.cmi import CMISynthesizer
from fastdfkd.core.methods.deep_inversion import DeepInversion
from fastdfkd.core.methods.fast import FastSynthesizer
from fastdfkd.core.methods.nayer import NAYER
from fastdfkd.core.task import Task
from fastdfkd.core.task_kind import Classification
from fastdfkd.recipe import (
    METHODS,
    CMISynthesis,
    DeepInversionSynthesis,
    FastSynthesis,
    NAYERSynthesis,
)

from . import naive

IMAGE_SHAPE = (3, 8, 8)
CLASSES = 3
MEAN, STD = (0.5, 0.25, 0.375), (0.25, 0.5, 0.125)
SEED = 11


def network(seed: int, widths: tuple[int, int]) -> nn.Sequential:
    """Two convolutions with BatchNorm; running statistics differ from the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, second = widths
        model = nn.Sequential(
            nn.Conv2d(3, first, 3, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(second, CLASSES),
        )
        for layer in model:
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.running_mean, 0.0, 0.5)
                nn.init.uniform_(layer.running_var, 0.5, 2.0)
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.bias, 0.0, 0.3)
        # Centre and scale the logits, so that no class always has the largest one.
        model.eval().requires_grad_(False)
        logits = model(torch.randn(256, *IMAGE_SHAPE))
        model[-1].weight.div_(logits.std(0)[:, None])
        model[-1].bias.sub_(logits.mean(0)).div_(logits.std(0))
    return model.requires_grad_(True)


def teacher() -> nn.Sequential:
    return network(1, (5, 6)).eval()


def student() -> nn.Sequential:
    """Agrees with the teacher on three to five of eight images, in bf16 too."""
    return network(39, (3, 4)).eval()


SAME_MODULES = {name: name for name, _ in teacher().named_modules()}
"""`Task.student_origins` of a student that starts from the teacher."""


def segmenter(seed: int, width: int = 6) -> nn.Sequential:
    """Maps images to (B, CLASSES, H, W). Running statistics are those of noise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width, momentum=1.0),
            nn.ReLU(),
            nn.Conv2d(width, CLASSES, 3, padding=1, bias=False),
            nn.BatchNorm2d(CLASSES, momentum=1.0),
        )
        with torch.no_grad():
            for _ in range(2):
                model.train()(torch.randn(64, *IMAGE_SHAPE))
    return model.eval()


def normalisation(device: str = "cpu") -> Normalisation:
    return Normalisation(MEAN, STD, device)


def column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).reshape(1, -1, 1, 1)


def fast_section(**changes: Any) -> FastSynthesis:
    values = {
        "rounds": 6,
        "warmup_rounds": 1,
        "batch_size": 8,
        "steps": 3,
        "lr_g": 5e-3,
        "lr_z": 0.015,
        "bn": 2.0,
        "oh": 0.5,
        "adv": 1.3,
        "bn_momentum": 0.9,
        "crop_padding": 2,
        "reset_after": None,
        "latent_dim": 5,
        "generator_width": 4,
    }
    return FastSynthesis(**{**values, **changes})


def deep_section(**changes: Any) -> DeepInversionSynthesis:
    values = {
        "method": "deep_inversion",
        "rounds": 6,
        "warmup_rounds": 1,
        "batch_size": 6,
        "steps": 5,
        "bn": 2.0,
    }
    return DeepInversionSynthesis(**{**values, **changes})


def cmi_section(**changes: Any) -> CMISynthesis:
    values = {
        "method": "cmi",
        "rounds": 6,
        "warmup_rounds": 1,
        "batch_size": 5,
        "steps": 3,
        "lr": 5e-3,
        "bn": 2.0,
        "memory": 12,
        "memory_draws": 7,
        "latent_dim": 5,
        "generator_width": 4,
        "crop_padding": 2,
    }
    return CMISynthesis(**{**values, **changes})


def nayer_section(**changes: Any) -> NAYERSynthesis:
    """Three noisy layers, the last of them for one image; a new generator before rounds 2 and 4."""
    values = {
        "method": "nayer",
        "rounds": 6,
        "warmup_rounds": 2,
        "batch_size": 7,
        "steps": 3,
        "lr_g": 5e-3,
        "bn": 2.0,
        "renew_every": 2,
        "class_vector_size": 4,
        "latent_dim": 5,
        "generator_width": 4,
        "crop_padding": 2,
    }
    return NAYERSynthesis(**{**values, **changes})


GENERATIVE = ("dafl", "zskt", "dfq", "dfad")
"""The methods with a persistent generator."""


def generative_section(method: str, **changes: Any) -> Any:
    values = {
        "method": method,
        "rounds": 6,
        "batch_size": 6,
        "generator_batch_size": 6,
        "latent_dim": 5,
        "generator_width": 4,
    }
    return METHODS[method](**{**values, **changes})


def task(**changes: Any) -> Task:
    values = {
        "teacher": teacher(),
        "student": student(),
        "image_shape": IMAGE_SHAPE,
        "kind": Classification(CLASSES),
        "normalisation": normalisation(changes.get("device", "cpu")),
        "seed": SEED,
    }
    return Task(**{**values, **changes})


def fast(section: FastSynthesis, index: int = 0, **changes: Any) -> FastSynthesizer:
    return FastSynthesizer(section, task(**changes), index)


def deep(section: DeepInversionSynthesis, **changes: Any) -> DeepInversion:
    return DeepInversion(section, task(**changes))


def cmi(section: CMISynthesis, index: int = 0, **changes: Any) -> CMISynthesizer:
    return CMISynthesizer(section, task(**changes), index)


def nayer(section: NAYERSynthesis, index: int = 0, **changes: Any) -> NAYER:
    return NAYER(section, task(**changes), index)


def naive_fast(synthesizer: FastSynthesizer, section: FastSynthesis) -> naive.FastSynthesizer:
    """The naive synthesizer, with the same theta and its own networks."""
    objective = naive.Objective(
        teacher(), student(), section.bn, section.oh, section.adv, section.bn_momentum
    )
    return naive.FastSynthesizer(
        synthesizer.meta.generator,
        objective,
        steps=section.steps,
        lr_g=section.lr_g,
        lr_z=section.lr_z,
        padding=section.crop_padding,
        mean=column(MEAN),
        std=column(STD),
        meta=section.meta,
        reptile_scale=section.reptile_scale,
    )


def assert_equal(ours: Any, expected: Any) -> None:
    """Bit for bit, for nested states."""
    found, wanted = tree_leaves(ours), tree_leaves(expected)
    assert len(found) == len(wanted)
    for mine, other in zip(found, wanted, strict=True):
        assert torch.equal(mine, other) if isinstance(other, Tensor) else mine == other


def contiguous(state: Any) -> Any:
    """A copy of a nested state with row-major tensors."""
    if isinstance(state, Tensor):
        return state.clone(memory_format=torch.contiguous_format)
    if isinstance(state, Mapping):
        return {key: contiguous(value) for key, value in state.items()}
    return [contiguous(value) for value in state] if isinstance(state, list) else state
