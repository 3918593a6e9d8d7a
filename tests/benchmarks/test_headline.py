"""The naive DeepInversion has the losses of the package's, and totals are costs times counts."""

from __future__ import annotations

import pytest
import torch

from benchmarks import headline
from benchmarks.cases import Case, pair_case
from benchmarks.naive_deep_inversion import NaiveDeepInversion
from fastdfkd.core.methods.deep_inversion import DeepInversion
from fastdfkd.core.random_streams import stream
from fastdfkd.core.task_kind import draw_classes
from fastdfkd.recipe import DeepInversionSynthesis


@pytest.fixture(scope="module")
def case() -> Case:
    torch.manual_seed(0)
    return pair_case("resnet14/resnet8-half", torch.device("cpu"), images=8, steps=1, batch=8)


def test_naive_deep_inversion_is_deep_inversion(case: Case) -> None:
    """In a round after warm-up, the lowest loss of a few steps and its images are the same."""
    section = DeepInversionSynthesis(
        method="deep_inversion", steps=6, lr=0.02, batch_size=8, rounds=2, warmup_rounds=1
    )
    ours = DeepInversion(section, case.task("float32"))
    batch = ours.make(1)[0]
    randomness = stream(0, "synthesis", 1)
    x = torch.randn(8, *case.image_shape, generator=randomness)
    labels = draw_classes(8, 10, False, randomness)
    moves = ours._moves(randomness)
    baseline = NaiveDeepInversion(section, case.teacher, case.student, case.normalisation)
    kept, losses = baseline.optimise(x, labels, moves)
    assert losses.index(min(losses)) > 0, "the steps must lower the loss"
    assert batch.provenance.losses["loss"] == pytest.approx(min(losses), rel=1e-4)
    pixels = case.normalisation.inverse(kept).mul(255).round().clamp(0, 255)
    assert (pixels - batch.images).abs().mean() < 0.5


def test_totals_are_costs_times_counts(case: Case) -> None:
    rows = headline.measure(case, {"images": 10, "updates": 100}, (None, 2), repeats=1)
    assert [row["teacher_cache"] for row in rows] == [None, 2]
    for row in rows:
        for side in ("naive", "ours"):
            synthesis, storage, update = row["seconds"][side].values()
            assert min(synthesis, storage, update) > 0
            expected = 10 * (synthesis + storage) + 100 * update
            assert row["extrapolated_seconds"][side] == pytest.approx(expected)
        ratio = row["extrapolated_seconds"]["naive"] / row["extrapolated_seconds"]["ours"]
        assert row["end_to_end_speedup"] == pytest.approx(ratio)
    record = {
        "date": "2026-01-01",
        "device": "a processor",
        "threads": 1,
        "commit": "abc",
        "command": "python -m benchmarks.headline",
        "versions": {"torch": "2"},
        "rows": rows,
    }
    assert "extrapolated" in headline.table(record)
    assert f"{rows[1]['end_to_end_speedup']:.3g}x" in headline.table(record)


def test_images_and_updates_are_those_of_the_recipe() -> None:
    case, counts = headline.case_and_counts("digits-fast5", torch.device("cpu"))
    assert case.image_shape == (1, 16, 16)
    assert counts["images"] % case.synthesis.batch_size == 0
    assert counts["updates"] > 0
