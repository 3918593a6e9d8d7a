"""Ray's folder and token on machines with unusual temporary and home folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastdfkd.platform.places import LONGEST, short_folder, token_without_home


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_TMPDIR", "TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_that_is_too_long_is_replaced_by_a_short_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(tmp_path / ("x" * 90)))
    with short_folder() as folder:
        assert folder is not None
        assert len(os.fsencode(folder)) <= LONGEST
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


def test_a_usable_folder_is_left_to_ray() -> None:
    with short_folder() as folder:
        assert folder is None or os.environ.get("TMPDIR") is None


def test_a_folder_that_cannot_be_created_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/proc/no")
    with short_folder() as folder:
        assert folder is not None


def test_without_a_home_ray_gets_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    token_without_home()
    assert "RAY_AUTH_TOKEN" not in os.environ, "Ray can write its own"
    monkeypatch.setenv("HOME", "/proc")
    token_without_home()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    token_without_home()
    assert "RAY_AUTH_TOKEN" not in os.environ
