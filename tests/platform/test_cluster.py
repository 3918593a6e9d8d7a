"""A start of Ray that takes too long."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray

from fastdfkd.platform import cluster

SLOW = "The current node timed out during startup. This could happen because ..."


@pytest.fixture(autouse=True)
def shutdowns(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """An item per call of `ray.shutdown`, which must not end the Ray of other tests."""
    calls: list[None] = []
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append(None))
    return calls


def test_a_slow_start_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, shutdowns: list[None]
) -> None:
    fails = [Exception(SLOW), Exception(SLOW)]

    def init(*_: object, **__: object) -> str:
        if fails:
            raise fails.pop()
        return "context"

    monkeypatch.setattr(ray, "init", init)
    assert cluster._init_ray(None, None) == "context"
    assert fails == []
    assert len(shutdowns) == 2, "what a failed start left behind is removed"


def test_a_machine_that_is_too_busy_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(*_: object, **__: object) -> None:
        raise Exception(SLOW)

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ConnectionError, match=r"30 s, which was exceeded 3 times.*--add"):
        cluster._init_ray(None, None)


def test_other_failures_are_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(*_: object, **__: object) -> None:
        raise RuntimeError("no such cluster")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RuntimeError, match="no such cluster"):
        cluster._init_ray(None, None)


def test_the_folder_to_which_ray_spills(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_object_spilling_directory", raising=False)
    monkeypatch.setattr(cluster, "_sessions", [])
    assert cluster.spill_folder() is None, "a cluster of others"
    monkeypatch.setattr(cluster, "_sessions", [Path("/tmp/ray/session")])
    assert cluster.spill_folder() == Path("/tmp/ray/session")
    monkeypatch.setenv("RAY_object_spilling_directory", "/large")
    assert cluster.spill_folder() == Path("/large")
