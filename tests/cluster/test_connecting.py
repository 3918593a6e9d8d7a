"""Joining a cluster that is not there, and a real one in every way."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.cluster.nodes import BIN, Nodes, free_port


def test_a_dead_address_is_an_error_within_seconds() -> None:
    """Ray alone goes on trying for more than three minutes.

    In a process of its own: in this one another test may be connected already.
    """
    address, began = f"127.0.0.1:{free_port()}", time.monotonic()
    code = f"""
from fastdfkd.platform.cluster import connect
with connect({address!r}):
    print("connected")
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert time.monotonic() - began < 30
    assert done.returncode == 1
    assert f"ConnectionError: no Ray cluster answers at {address}" in done.stderr
    assert not done.stdout


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    nodes = Nodes(head_cpus=3)
    try:
        nodes.start_head()
        yield nodes
    finally:
        nodes.close()


WORDS = ["distill", "digits-fast5", "teacher.epochs=1", "synthesis.rounds=2"]
WORDS += [
    "synthesis.warmup_rounds=0",
    "synthesis.batch_size=16",
    "distillation.updates_per_round=2",
]


def by_home(nodes: Nodes, token: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of somebody who sets nothing, with a token in the home."""
    home = nodes.folder / "home"
    (home / ".ray").mkdir(parents=True, exist_ok=True)
    (home / ".ray" / "auth_token").write_text(token)
    env = {key: value for key, value in nodes.env.items() if not key.startswith("RAY_AUTH")}
    return subprocess.run(
        [str(BIN / "fastdfkd"), *words],
        env={**env, "HOME": str(home)},
        cwd=nodes.folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("form", ["127.0.0.1:{0.port}", "ray://127.0.0.1:{0.client}"])
def test_a_token_at_hand_lets_a_run_join(nodes: Nodes, form: str) -> None:
    out = nodes.folder / form[:3]
    address = form.format(nodes)
    words = [*WORDS, "--address", address, "--out", str(out)]
    done = by_home(nodes, nodes.token.read_text(), *words)
    assert done.returncode == 0, done.stderr
    assert (out / "result.json").is_file()


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("127.0.0.1:{0.port}", "is not the cluster's"),
        ("127.0.0.1:{0.dashboard}", "a cluster's dashboard"),
        ("http://127.0.0.1:{0.dashboard}", "a cluster's dashboard"),
        ("ray://127.0.0.1:{0.dashboard}", "a cluster's dashboard"),
    ],
)
def test_a_real_cluster_is_named_within_seconds(nodes: Nodes, form: str, told: str) -> None:
    began = time.monotonic()
    done = by_home(nodes, "f" * 64, *WORDS, "--address", form.format(nodes))
    assert time.monotonic() - began < 15
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
