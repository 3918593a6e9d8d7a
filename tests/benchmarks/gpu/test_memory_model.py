"""The largest batch of a card follows from two measured batches."""

from __future__ import annotations

import pytest

from benchmarks.gpu.memory_model import GB, RESERVED_GB, MemoryModel


def test_a_line_is_found_and_checked() -> None:
    model = MemoryModel.of(lambda n: 2 * GB + 1e6 * n, (64, 256), (128, 512))
    assert model.fixed_bytes == pytest.approx(2 * GB)
    assert model.per_image_bytes == pytest.approx(1e6)
    assert model.errors == pytest.approx((0.0, 0.0))
    assert model.largest_batch(8) == pytest.approx((8 - RESERVED_GB - 2) * 1000, abs=1)
    assert model.largest_batch(2) == 0


def test_the_error_of_the_check_is_taken_off() -> None:
    bent = {64: 64e6, 256: 256e6, 128: 160e6, 512: 512e6}
    model = MemoryModel.of(lambda n: bent[n], (64, 256), (128, 512))
    assert model.errors == pytest.approx((-0.2, 0.0))
    assert model.largest_batch(8) == pytest.approx((8 - RESERVED_GB) * 1000 / 1.2, rel=1e-3)


def test_memory_that_does_not_grow_is_an_error() -> None:
    with pytest.raises(ValueError, match="more memory for 256 images"):
        MemoryModel.of(lambda _: 1e6, (64, 256), ())
