"""One Ray cluster on this machine for all tests that ask for one, up only while it is needed.

Ray's idle processes take about a tenth of a core. So the files whose tests share the cluster run
first, and it ends after the last of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

FIXTURE = "ray_cluster"

_up: ExitStack | None = None
_files: set[Path] = set()
"""Files with a test that shares the cluster."""


def put_first(items: list[pytest.Item]) -> None:
    """Sort files: those that share the cluster, those that start Ray themselves, all others.

    Files that start Ray take longest, and would keep one process of the tests at the end.
    """
    _files.update(item.path for item in items if FIXTURE in fixtures_of(item))
    own = {item.path for item in items if item.get_closest_marker("cluster")}
    items.sort(key=lambda item: 0 if item.path in _files else 1 if item.path in own else 2)


def fixtures_of(item: pytest.Item) -> Sequence[str]:
    """Names of the fixtures that a test uses, directly or not."""
    names: Sequence[str] = getattr(item, "fixturenames", ())
    return names


def start() -> None:
    """Start the cluster unless it is up."""
    global _up
    if _up is None:
        from fastdfkd.platform.cluster import connect

        _up = ExitStack()
        _up.enter_context(connect(None))


def stop_before(following: pytest.Item | None) -> None:
    """Stop the cluster unless the file of the following test shares it."""
    global _up
    if _up is not None and (following is None or following.path not in _files):
        ending, _up = _up, None
        ending.close()
