"""What `synthesis.bn: auto` means for teachers of many kinds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.teacher_traits import WEAKER, resolve_auto, traits_of
from fastdfkd.models import build_network
from fastdfkd.recipe import METHODS, DeepInversionSynthesis, FastSynthesis
from fastdfkd.recipe.methods import AutoSynthesis

from . import parts

SHAPE = (3, 32, 32)


@pytest.mark.parametrize(
    ("name", "layers", "patch"),
    [("resnet8", 9, None), ("resnet14-gn", 0, None), ("vit-tiny", 0, 4)],
)
def test_networks_of_the_table(name: str, layers: int, patch: int | None) -> None:
    network = build_network(name, 10).train()
    network.encoders = getattr(network, "encoders", nn.Identity()).eval()
    traits = traits_of(network, SHAPE)
    assert (traits.statistics, traits.features, traits.patch) == (layers, True, patch)
    assert network.training
    assert not network.encoders.training


def test_patches_without_attention_are_none() -> None:
    """ConvNeXt's first layer cuts patches too."""
    network = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(), nn.Linear(256, 2))
    assert traits_of(network, SHAPE).patch is None


def test_libraries_transformers_are_known() -> None:
    models = pytest.importorskip("torchvision.models")
    vit = models.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=5)
    assert traits_of(vit, SHAPE).patch == 8


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_program_shows_its_statistics_and_no_features() -> None:
    program = torch.jit.trace(parts.teacher(), torch.randn(2, 3, 8, 8))
    traits = traits_of(program, parts.IMAGE_SHAPE)
    assert (traits.statistics, traits.features, traits.patch) == (2, False, None)
    section, note = resolve_auto(FastSynthesis(bn="auto"), program, parts.IMAGE_SHAPE)
    assert section.bn_weight == 10.0
    assert "running statistics of 2 layers" in note


def test_statistics_give_the_papers_weight() -> None:
    section, note = resolve_auto(FastSynthesis(bn="auto"), parts.teacher(), parts.IMAGE_SHAPE)
    assert (section.bn, section.priors) == (10.0, {})
    assert note == "synthesis.bn auto: 10, for the running statistics of 2 layers of the teacher"


def test_priors_that_are_set_stand_in() -> None:
    network = build_network("vit-tiny", 3)
    section = FastSynthesis(bn="auto", balance=0.5, oh=2.0)
    chosen, note = resolve_auto(section, network, parts.IMAGE_SHAPE)
    assert (chosen.bn, chosen.oh, chosen.patch_size) == (0.0, 2.0, 4)
    assert chosen.priors == {"balance": 0.5}
    assert "balance 0.5" in note
    assert note.endswith(WEAKER)


@pytest.mark.parametrize("bn", [0.0, 3.0])
def test_a_number_is_left_as_it_is(bn: float) -> None:
    section = FastSynthesis(bn=bn)
    assert resolve_auto(section, build_network("vit-tiny", 3), parts.IMAGE_SHAPE) == (section, "")


@pytest.mark.parametrize("name", ["resnet14-gn", "vit-tiny", "vit-hybrid"])
@pytest.mark.parametrize("method", ["fast", "deep_inversion"])
def test_auto_makes_images_of_a_teacher_without_statistics(name: str, method: str) -> None:
    common = {"rounds": 2, "warmup_rounds": 1, "batch_size": 4, "steps": 2, "bn": "auto"}
    section = (
        FastSynthesis(**common, generator_width=4)
        if method == "fast"
        else DeepInversionSynthesis(method="deep_inversion", **common)
    )
    task = parts.task(teacher=build_network(name, parts.CLASSES).eval())
    synthesizer = build_synthesizer(section, task)
    batches = [synthesizer.synthesize(round) for round in range(2)]
    assert batches[1].images.shape == (4, *parts.IMAGE_SHAPE)
    assert batches[1].provenance.losses["bn"] == 0.0


def test_auto_is_the_number_for_a_teacher_with_statistics() -> None:
    batches = [
        build_synthesizer(parts.fast_section(bn=bn), parts.task()).synthesize(1).images
        for bn in ("auto", 10.0)
    ]
    assert torch.equal(*batches)


@pytest.mark.parametrize(
    ("name", "method", "says"),
    [
        ("resnet14", "fast", "auto: fast. synthesis.bn auto: 10, for the running statistics of"),
        ("resnet14-gn", "shapes", "auto: shapes. The teacher has no running statistics"),
        ("vit-tiny", "shapes", "auto: shapes. The teacher has no running statistics"),
    ],
)
def test_the_method_follows_from_the_teacher(name: str, method: str, says: str) -> None:
    """Its keys are taken over, and it makes the same images as the method itself."""
    keys: dict[str, Any] = {"rounds": 3, "warmup_rounds": 1, "batch_size": 4}
    section = AutoSynthesis(method="auto", **keys, steps=2, generator_width=4, candidates=2)
    teacher = build_network(name, parts.CLASSES).eval()
    chosen, note = resolve_auto(section, teacher, parts.IMAGE_SHAPE)
    assert chosen.method_name() == method
    assert f"synthesis.method {says}" in note
    own = {"fast": {"steps": 2, "generator_width": 4}, "shapes": {"candidates": 2}}[method]
    expected = METHODS[method](method=method, **keys, **own)
    assert chosen == expected
    task = parts.task(teacher=teacher)
    batches = [build_synthesizer(each, task).synthesize(1) for each in (section, expected)]
    assert torch.equal(batches[0].images, batches[1].images)
