"""A sweep as a job of a cluster: a head without CPUs and a worker node, each a `ray start`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastdfkd.recipe import Recipe
from fastdfkd.tuning.trial_log import TrialLog
from tests.cluster.nodes import BIN, Nodes

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]
JOB_S = 600.0
"""Seconds a sweep of two tiny trials may take; 60 on a calm machine."""


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    nodes = Nodes()
    try:
        nodes.start_head()
        nodes.start_worker(cpus=2)
        yield nodes
    finally:
        nodes.close()


def test_ray_job_submit_runs_a_sweep(
    nodes: Nodes, quick: Recipe, space_file: Callable[[str], Path]
) -> None:
    (nodes.folder / "quick.yaml").write_text(quick.to_yaml())
    space = space_file("synthesis.steps: {choice: [1, 2]}")
    out = nodes.folder / "sweep"
    words = ["fastdfkd", "sweep", "quick.yaml", str(space), "--search", "grid", "--out", str(out)]
    done = subprocess.run(
        [str(BIN / "ray"), "job", "submit", "--address", nodes.address, "--", *words],
        env=nodes.env,
        cwd=nodes.folder,
        capture_output=True,
        text=True,
        timeout=JOB_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [record.status for record in TrialLog(out).records()] == ["finished"] * 2
    assert f"fastdfkd distill {out / 'best.yaml'}" in done.stdout
    assert (out / "best.yaml").is_file()
