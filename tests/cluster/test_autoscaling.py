"""Ray's own autoscaler adds the node that a recipe lacks, and takes it away afterwards."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from fastdfkd.runs.result import RunResult
from tests.cluster.nodes import BIN, Nodes
from tests.cluster.test_jobs import TINY

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

ADDING_S = 240.0


@pytest.fixture
def small() -> Iterator[Nodes]:
    """A head of one processor whose autoscaler may add a node of one."""
    nodes = Nodes(head_cpus=1)
    try:
        nodes.start_head(most_added=1, cpus_each=1)
        yield nodes
    finally:
        nodes.close()


def cpus(nodes: Nodes) -> str:
    words = [str(BIN / "ray"), "status", "--address", f"127.0.0.1:{nodes.port}"]
    said = subprocess.run(words, env=nodes.env, capture_output=True, text=True, check=False).stdout
    return next((line.strip() for line in said.splitlines() if line.endswith(" CPU")), said)


def test_what_the_cluster_lacks_is_added_and_given_back(small: Nodes) -> None:
    out = small.folder / "grown"
    words = [str(BIN / "fastdfkd"), "distill", *TINY, "platform.synthesizers=2"]
    words += ["platform.workers=0", f"platform.autoscale_timeout_s={ADDING_S}", "--out", str(out)]
    done = subprocess.run(
        [*words, "--address", f"127.0.0.1:{small.port}"],
        env=small.env,
        cwd=small.folder,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "waiting for the autoscaler" in done.stderr
    assert RunResult.load(out).images == 6 * 16
    deadline = time.monotonic() + 120
    while "/1.0 CPU" not in (said := cpus(small)):
        assert time.monotonic() < deadline, (
            f"nodes of a run that has ended are still asked for: {said}"
        )
        time.sleep(2)
