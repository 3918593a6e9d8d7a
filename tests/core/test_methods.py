"""Building what a section names: a synthesizer, and the generator that several share."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from fastdfkd.core.methods import build_shared_generator, build_synthesizer
from fastdfkd.core.methods.deep_inversion import DeepInversion
from fastdfkd.core.methods.fast import FastSynthesizer
from fastdfkd.recipe import FastSynthesis

from . import parts


def test_the_section_says_which_class() -> None:
    assert isinstance(build_synthesizer(parts.fast_section(), parts.task()), FastSynthesizer)
    assert isinstance(build_synthesizer(parts.deep_section(), parts.task()), DeepInversion)


@pytest.mark.parametrize(
    "section", [parts.deep_section(), parts.fast_section(meta="none")], ids=["deep", "none"]
)
def test_where_batches_teach_nothing_nothing_is_shared(section: Any) -> None:
    assert build_shared_generator(section, parts.task()) is None
    assert build_synthesizer(section, parts.task()).make(0)[1].tensors == []


@pytest.mark.parametrize("meta", ["fomaml", "reptile", "sequential"])
def test_a_shared_generator_makes_the_batches_of_a_lone_synthesizer(meta: str) -> None:
    """As on the weight board: state out before a batch, the update back after it."""
    section = parts.fast_section(meta=meta, reset_after=1)
    lone, member = (build_synthesizer(section, parts.task()) for _ in range(2))
    shared = build_shared_generator(section, parts.task())
    assert shared is not None
    for round in range(4):
        expected = lone.synthesize(round)
        shared.begin(round)
        member.load_generator(shared.shared_state())
        batch, update = member.make(round)
        shared.learn([update])
        assert torch.equal(batch.images, expected.images)
        assert batch.provenance.generator_version == expected.provenance.generator_version
    assert shared.version == 5, "four updates and a reset"


@pytest.mark.parametrize(
    "path", ["fastdfkd.core.methods.fast:Nothing", "nowhere.at_all:Nothing", "not a path"]
)
def test_a_class_that_is_not_there_is_named(path: str) -> None:
    class Lost(FastSynthesis):
        implementation: ClassVar[str] = path

    with pytest.raises(ValueError, match=f"synthesis.method fast: its class {path} cannot be"):
        build_synthesizer(Lost(), parts.task())
