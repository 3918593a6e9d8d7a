"""Jobs on a real cluster: a head and two worker nodes, each a `ray start` of its own.

The nodes have fake GPUs, so that placement by count is as on a cluster; the roles run on the CPU.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastdfkd.runs.metrics import read_rows
from fastdfkd.runs.result import RunResult
from tests.cluster.nodes import BIN, Node, Nodes, Terminal, descendants, listening

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

TINY = [
    "digits-fast5",
    "synthesis.rounds=6",
    "synthesis.warmup_rounds=2",
    "synthesis.batch_size=16",
    "synthesis.latent_dim=8",
    "synthesis.generator_width=4",
    "distillation.updates_per_round=3",
    "distillation.batch_size=12",
    "platform.evaluations=1",
    "platform.device=cpu",
    "platform.start_timeout_s=60",
    "teacher.epochs=1",
]
JOB_S = 400.0
"""Seconds a tiny job may take; 30 on a calm machine."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    nodes = Nodes()
    try:
        nodes.start_head()
        for _ in range(2):
            nodes.start_worker(cpus=2, gpus=1)
        yield nodes
    finally:
        nodes.close()


def run(nodes: Nodes, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of a user of the cluster, to its end."""
    return subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        env=nodes.env,
        cwd=nodes.folder,
        capture_output=True,
        text=True,
        timeout=JOB_S,
        check=False,
    )


def submit(nodes: Nodes, *words: str) -> subprocess.CompletedProcess[str]:
    return run(nodes, "fastdfkd", "submit", *TINY, *words, "--address", nodes.address)


def test_the_head_is_for_this_machine_and_for_those_with_the_token(nodes: Nodes) -> None:
    assert listening(nodes.dashboard) == {"127.0.0.1"}
    env = {**nodes.env, "RAY_AUTH_TOKEN_PATH": str(nodes.folder / "other")}
    (nodes.folder / "other").write_text("f" * 64)
    done = subprocess.run(
        [str(BIN / "fastdfkd"), "submit", *TINY, "--address", nodes.address],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Invalid authentication token" in done.stderr
    assert "RAY_AUTH_TOKEN_PATH" in done.stderr


def test_ray_job_submit_works_as_the_readme_has_it(nodes: Nodes) -> None:
    out = nodes.folder / "by-ray"
    words = ["--address", nodes.address, "--", "fastdfkd", "distill", *TINY, "--out", str(out)]
    done = run(nodes, "ray", "job", "submit", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert RunResult.load(out).updates == 4 * 3


def test_submit_follows_the_log_and_ends_as_the_job_does(nodes: Nodes) -> None:
    out = nodes.folder / "by-us"
    done = submit(nodes, "seed=3", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is submitted to" in done.stderr
    assert f"run        {out}" in done.stdout, "the job's own summary"
    result = RunResult.load(out)
    assert (result.seed, result.images, result.updates) == (3, 6 * 16, 4 * 3)
    again = submit(nodes, "seed=3", "--out", str(out))
    assert again.returncode == 2, "the exit code of `distill`, which refuses the folder"
    assert "is not empty" in again.stdout


def test_asking_for_more_than_there_is_ends_the_job_and_says_so(nodes: Nodes) -> None:
    out = nodes.folder / "too-much"
    done = submit(nodes, "platform.synthesizers=9", "--out", str(out))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "the recipe asks for 9 CPU" in done.stdout
    assert "the cluster has 4" in done.stdout


def test_ctrl_c_stops_the_job_if_that_is_what_the_user_wants(nodes: Nodes) -> None:
    """First only looked at, then stopped: the run's end is an orderly one on the cluster too."""
    out = nodes.folder / "stopped"
    words = [*TINY, "synthesis.rounds=4000", "synthesis.warmup_rounds=2"]
    words += ["--out", str(out), "--address", nodes.address]
    terminal = Terminal([str(BIN / "fastdfkd"), "submit", *words], nodes.env, nodes.folder)
    try:
        question, rows = "go on following (Enter)?", out / "metrics.csv"
        wait_for_rows(rows, 4, terminal.process, lambda: terminal.said)
        terminal.type("\x03")
        terminal.wait_for(question, 1, seconds=60)
        terminal.type("\n")
        more = len(rows.read_text().splitlines())
        wait_for_rows(rows, more, terminal.process, lambda: terminal.said)
        terminal.type("\x03")
        terminal.wait_for(question, 2, seconds=60)
        terminal.type("s\n")
        terminal.wait_for("is stopped", 1, seconds=120)
        assert terminal.process.wait(30) == 130
    finally:
        terminal.close()
    assert json.loads((out / "state.json").read_text())["state"] == "stopped"
    assert not (out / "result.json").exists()
    wait_until_nobody_synthesises(nodes)


def wait_until_nobody_synthesises(nodes: Nodes) -> None:
    deadline = time.monotonic() + 60
    while any(hosts(node, "ray::SynthesizerActor") for node in nodes.all):
        assert time.monotonic() < deadline, "the actors of a stopped job are still there"
        time.sleep(0.5)


def run_and_lose_a_node(nodes: Nodes, name: str, synthesizers: int, lost: Node | None) -> None:
    """A job of 60 rounds, during which `lost` dies (or the first node with a synthesizer)."""
    out, log = nodes.folder / name, nodes.folder / f"{name}.log"
    words = [*TINY, "synthesis.rounds=60", f"platform.synthesizers={synthesizers}"]
    with log.open("wb") as file:
        job = subprocess.Popen(
            [
                str(BIN / "fastdfkd"),
                "submit",
                *words,
                "--out",
                str(out),
                "--address",
                nodes.address,
            ],
            env=nodes.env,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for_rows(out / "metrics.csv", 4, job, log.read_text)
        head, *workers = (node for node in nodes.all if node.alive)
        synthesis = [node for node in workers if hosts(node, "ray::SynthesizerActor")]
        assert hosts(head, "ray::SampleBank"), "the bank stays with the driver"
        assert hosts(head, "ray::WeightBoard"), "the board stays with the driver"
        assert lost is None or lost in synthesis
        (lost or synthesis[0]).kill()
        assert job.wait(JOB_S) == 0, log.read_text()
    finally:
        job.kill()
        job.wait()
    result = RunResult.load(out)
    assert (result.images, result.updates) == (60 * 16, 58 * 3), "no round is lost or made twice"
    assert read_rows(out / "metrics.csv")[-1]["restarts"] >= 1


def test_a_job_survives_the_loss_of_a_node(nodes: Nodes) -> None:
    """Both synthesizers go on elsewhere: Ray moves their bundles to the node that is left."""
    run_and_lose_a_node(nodes, "moved", 2, None)


def test_a_job_goes_on_without_the_synthesizer_that_finds_no_room(nodes: Nodes) -> None:
    """Three of one CPU each on a node of two and a node of one, which is lost: one has no home."""
    one = nodes.start_worker(cpus=1)
    _, _, *spare, _ = (node for node in nodes.all if node.alive)
    for node in spare:
        node.kill()
    wait_for_cpus(nodes, 3)
    run_and_lose_a_node(nodes, "homeless", 3, one)


def wait_for_cpus(nodes: Nodes, cpus: int) -> None:
    """Until the cluster has noticed which nodes it has."""
    deadline = time.monotonic() + 60
    while f"/{cpus}.0 CPU" not in (said := run(nodes, "ray", "status", *gcs(nodes)).stdout):
        assert time.monotonic() < deadline, said
        time.sleep(1)


def gcs(nodes: Nodes) -> list[str]:
    return ["--address", f"127.0.0.1:{nodes.port}"]


def wait_for_rows(
    path: Path, rows: int, job: subprocess.Popen[bytes], said: Callable[[], str]
) -> None:
    """Until the file has more than `rows` lines."""
    deadline = time.monotonic() + JOB_S
    while not path.is_file() or len(path.read_text().splitlines()) <= rows:
        assert job.poll() is None, f"the job ended before its node was killed: {said()}"
        assert time.monotonic() < deadline, said()
        time.sleep(0.1)


def hosts(node: Node, name: str) -> bool:
    """Whether a process of this name is one of the node's."""
    if not node.alive:
        return False
    lines = [Path(f"/proc/{pid}/cmdline") for pid in descendants(node.process.pid)]
    return any(name in line.read_bytes().decode() for line in lines if line.is_file())
