"""Runs on three nodes: how images travel, and the loss of a node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]
PATIENCE = {"RAY_raylet_start_wait_time_s": "120", "RAY_agent_register_timeout_ms": "110000"}
"""Ray's limits for the start of a node. Its own are too short for three on a busy machine."""


def run_on_three_nodes(kind: str, count: int, lose: bool, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.platform.several_nodes", kind, str(count)]
    done = subprocess.run(
        [*command, str(int(lose)), str(folder)],
        env={**os.environ, **PATIENCE},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def check_complete(figures: dict[str, Any]) -> None:
    for name in ("updates", "images"):
        got, wanted = figures[name]
        assert got == wanted, (name, figures)


def test_images_of_224_pixels_do_not_pass_through_the_driver(tmp_path: Path) -> None:
    """It reads one round, for the samples. Neither do the others enter its node's store."""
    figures = run_on_three_nodes("large", 1, False, tmp_path)
    check_complete(figures)
    a_round = figures["bytes"] / figures["rounds"]
    assert figures["driver_batches"] == 1, figures
    assert figures["driver_bytes"] == a_round, figures
    assert figures["driver_store_bytes"] < figures["bytes"], figures


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", ["scenes", "large"])
def test_a_run_ends_in_spite_of_a_lost_node(kind: str, count: int, tmp_path: Path) -> None:
    figures = run_on_three_nodes(kind, count, True, tmp_path)
    check_complete(figures)
    assert figures["removed"] == 1, figures
    assert figures["restarts"] + figures["worker_restarts"] >= 1, figures
