"""torch's compiler reads every part of a step, and its results are those of the plain parts."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

from fastdfkd.core import torch_versions
from fastdfkd.core.captured import WARM_UP, Captured, captured
from fastdfkd.core.compiled import Compilable
from fastdfkd.core.random_streams import stream
from fastdfkd.core.views import ShiftedViews, preparing
from fastdfkd.recipe import DistillationSection

from . import parts
from .test_captured_updates import bank
from .test_compiled_steps import distillers

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
"""The compiler's own modules warn when they are imported."""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing compiled before is found."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")


def compiled_frames() -> int:
    """How many functions the compiler has compiled in this process."""
    counters: Any = importlib.import_module("torch._dynamo.utils").counters
    return int(counters["stats"]["unique_graphs"])


def test_updates() -> None:
    plain, pupil = distillers(True)
    pupil.update(bank("cpu"))
    before = compiled_frames()
    losses = [[each.update(bank("cpu")) for _ in range(4)] for each in (plain, pupil)]
    losses[0].append(plain.update(bank("cpu")))
    torch.testing.assert_close(
        plain.state_dict()["student"], pupil.state_dict()["student"], rtol=1e-2, atol=1e-3
    )
    assert all(isinstance(part, Compilable) and part.compiled for part in pupil.compiling.parts)
    assert len(pupil.notes) == 3
    pupil.module.eval()(torch.zeros(2, *parts.IMAGE_SHAPE))  # an evaluation
    assert compiled_frames() == before, "nothing is compiled after the first update"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_synthesis(precision: Any) -> None:
    section = parts.fast_section()
    plain, ours = (parts.fast(section, compile=wish, precision=precision) for wish in (False, True))
    # in the third round plain bfloat16 is 0.14 from plain float32: every step rounds
    near = 1e-3 if precision == "float32" else 0.2
    for round in range(3):
        if round == 2:  # both networks have been asked
            before = compiled_frames()
        mine, theirs = (each.synthesize(round).provenance.losses for each in (ours, plain))
        assert mine == pytest.approx(theirs, rel=near, abs=near)
    assert len(ours.notes) == 3
    assert all(part.compiled for part in ours.objective.compiling.parts), ours.notes
    assert compiled_frames() == before


@pytest.mark.parametrize("device", DEVICES)
def test_draws_become_inputs_in_at_most_two_kernels(device: str) -> None:
    """Twenty-five operations otherwise. Views are equal, inputs within rounding."""
    metrics: Any = importlib.import_module("torch._inductor.metrics")
    section = DistillationSection(batch_size=8, invert=True)
    views = ShiftedViews(section)
    plain = preparing(views, parts.normalisation(device))
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, device=device)
    draws = views.draw(8, stream(0, "test", device=device))
    metrics.reset()
    compiled = torch_versions.compiled(plain)
    found, expected = compiled(images, *draws), plain(images, *draws)
    assert metrics.generated_kernel_count <= 2
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-6, atol=1e-6)


@pytest.mark.gpu
def test_compiled_draws_can_be_a_cuda_graph() -> None:
    views = ShiftedViews(DistillationSection(batch_size=8))
    plain = preparing(views, parts.normalisation("cuda"))
    step = captured(torch_versions.compiled(plain), "cuda", True)
    assert isinstance(step, Captured)
    for number in range(WARM_UP + 3):
        images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, device="cuda")
        draws = views.draw(8, stream(0, "test", number, device="cuda"))
        assert torch.equal(step(images, *draws)[0], plain(images, *draws)[0])
    assert step.recordings
    assert not step.failure


def test_without_a_cpp_compiler_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    config: Any = importlib.import_module("torch._inductor.config")
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(config, "force_disable_caches", True)
    _, pupil = distillers(True)
    losses = [float(pupil.update(bank("cpu"))) for _ in range(2)]
    assert all(part.stays_plain for part in pupil.compiling.parts)
    assert "it cannot be compiled" in pupil.notes[0]
    assert len(losses) == 2
