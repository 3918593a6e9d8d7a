"""The naive implementation computes the same function as the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from benchmarks import naive
from benchmarks.cases import Case, pair_case
from benchmarks.results import compare, table
from benchmarks.timing import alternated, flops, matmul_peaks, precisions
from fastdfkd.core.augment import Augmentation
from fastdfkd.core.precision import autocast
from fastdfkd.core.random_streams import stream

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def case() -> Case:
    torch.manual_seed(0)
    return pair_case("resnet14/resnet8-half", CPU, images=8, steps=1, batch=8)


def cosine_gap(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    flat = [torch.cat([x.double().flatten() for x in side]) for side in (a, b)]
    return 1 - F.cosine_similarity(*flat, dim=0).item()


@pytest.mark.parametrize(
    ("precision", "loss_gap", "direction_gap"),
    [("float32", 1e-6, 1e-5), ("bfloat16", 1e-2, 0.03)],
)
def test_one_step_of_synthesis(
    case: Case, precision: Any, loss_gap: float, direction_gap: float
) -> None:
    synthesizer = case.synthesizer(precision)
    z, labels = case.latents()
    baseline = naive.NaiveSynthesizer(
        case.synthesis, synthesizer.meta.generator, case.teacher, case.student, case.normalisation
    )
    _, loss, gradients = baseline.inner_loop(z, labels, True, stream(0, "test"))
    ours = synthesizer.inner_loop(z, labels, True, stream(0, "test"))
    assert ours.losses["loss"] == pytest.approx(loss, rel=loss_gap)
    assert cosine_gap(ours.summed_gradients, gradients) < direction_gap


@pytest.mark.parametrize(("precision", "gap"), [("float32", 2e-4), ("bfloat16", 5e-2)])
def test_one_student_update(case: Case, precision: Any, gap: float) -> None:
    """The tolerance is wide: at temperature 20 the loss is a small difference of large numbers."""
    bank, batch = case.bank(20), case.distillation.batch_size
    randomness = stream(0, "distillation", 0, 0)
    images = bank.draw(batch, randomness).float() / 255
    baseline = naive.NaiveDistiller(
        case.distillation, case.teacher, case.student, case.normalisation
    )
    expected = baseline.update(images, randomness)
    ours = case.distiller(precision)
    assert ours.update(bank).item() == pytest.approx(expected, rel=gap)
    gradients = [
        [p.grad for p in side.parameters() if p.grad is not None]
        for side in (ours.module, baseline.student)
    ]
    assert cosine_gap(*gradients) < (1e-5 if precision == "float32" else 0.03)


def test_augmentation_is_the_same() -> None:
    images = torch.rand(6, 3, 8, 8)
    expected = Augmentation.draw(6, 2, True, True, stream(0, "crop"))(images)
    assert torch.equal(naive.augment(images, 2, True, True, stream(0, "crop")), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_files_are_read_as_they_were_written(tmp_path: Path, channels: int) -> None:
    images = torch.randint(0, 256, (4, channels, 8, 8)) / 255
    naive.save_pngs(images, tmp_path, 0)
    data = naive.PngFolder(tmp_path, 0, False, False)
    torch.testing.assert_close(torch.stack([data[i] for i in range(4)]), images)
    assert next(naive.loader(tmp_path, 4, 0, False, False)).shape == images.shape


@pytest.mark.parametrize("multiplies", [True, False])
def test_only_types_that_the_hardware_multiplies_are_measured(
    multiplies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emulated bfloat16 is a hundred times slower and is of no use."""
    monkeypatch.setattr("fastdfkd.core.precision._multiplies_bf16", lambda _: multiplies)
    assert precisions(CPU) == (("float32", "bfloat16") if multiplies else ("float32",))


def test_there_is_a_peak_for_each_precision() -> None:
    assert tuple(matmul_peaks(CPU)) == precisions(CPU)


def test_timing_and_counting() -> None:
    x = torch.ones(4, 5)
    assert flops(lambda: x @ x.T) == 2 * 4 * 4 * 5
    assert alternated({"a": lambda: x + x}, CPU, 3)["a"] >= 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_fused_convolutions_are_counted(case: Case, precision: Any) -> None:
    x = torch.randn(2, *case.image_shape).contiguous(memory_format=torch.channels_last)
    teacher = case.distiller(precision).teacher
    with torch.no_grad(), autocast(CPU, precision):
        assert flops(lambda: teacher(x)) == flops(lambda: case.teacher(x))


def table_rows(
    *, ratio: float, gflop: float = 1.0, naive_gflop: float = 2.0
) -> list[dict[str, Any]]:
    key = {"case": "c", "what": "w", "size": "8"}
    naive_row = {**key, "precision": "naive", "gflop": naive_gflop, "ratio": 1.0}
    return [naive_row, {**key, "precision": "float32", "gflop": gflop, "ratio": ratio}]


def test_a_ratio_that_fell_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.results._committed", lambda _: table_rows(ratio=2.3))
    [line] = compare(table_rows(ratio=2.0), quick=True)
    assert line.endswith("FELL by more than a tenth")
    assert "FELL" not in compare(table_rows(ratio=2.2), quick=True)[0]
    assert "FELL" in compare(table_rows(ratio=1.2, gflop=2.0), quick=True)[0]
    assert "last committed" not in compare(table_rows(ratio=2.0, naive_gflop=3.0), quick=True)[0]


def test_a_table_contains_hardware_versions_and_command() -> None:
    row = {
        "case": "c",
        "what": "student update",
        "size": "8",
        "precision": "float32",
        "ratio": 2.0,
        "gflop": 1.0,
    }
    record = {
        "date": "2026-01-01",
        "device": "a processor",
        "threads": 1,
        "commit": "abc",
        "command": "python -m benchmarks.step_cost",
        "peak_gflops": {"float32": 1e11},
        "versions": {"torch": "2"},
        "rows": [{**row, "seconds": 1.0, "share_of_peak": 0.5, "parts": {"teacher": 0.5}}],
    }
    text = table(record)
    for expected in ("a processor", "abc", "torch 2", "step_cost", "2.00x", "50%", "500"):
        assert expected in text
