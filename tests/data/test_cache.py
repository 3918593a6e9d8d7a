"""The cache where the home is not ours to write to."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from fastdfkd.data import cache_folder, use_fallback_cache
from fastdfkd.data.cache import cached_arrays


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FASTDFKD_HOME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("home", ["/proc", "/proc/self/no", "~unknown-user"])
def test_a_home_that_cannot_be_written_to_is_left_for_the_run(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", home)
    for _ in range(2):
        use_fallback_cache(tmp_path / "cache")
    assert cache_folder() == tmp_path / "cache"
    assert os.environ["MPLCONFIGDIR"].startswith(str(tmp_path))
    (said,) = (record.getMessage() for record in caplog.records)
    assert "Set FASTDFKD_HOME" in said


def test_a_home_that_serves_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    use_fallback_cache(tmp_path / "run" / "cache")
    assert cache_folder() == tmp_path / ".cache" / "fastdfkd"
    assert caplog.records == []


def test_what_cannot_be_kept_is_made_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FASTDFKD_HOME", "/proc/no")
    caplog.set_level(logging.WARNING)
    made = {"images": np.ones((2, 3), np.uint8)}
    assert cached_arrays("x", {"images": (2, 3)}, lambda: made) is made
    assert "cannot be stored" in caplog.text
