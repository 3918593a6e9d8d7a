"""What rounds cost between nodes: three Ray nodes on this machine, with one role each.

    python -m benchmarks.scaling_nodes SIDE:IMAGES:ROUNDS...

A program of its own, because the process of a benchmark is connected to another cluster. The
driver, the bank and the board are on the head, sleeping synthesizers on the second node, the
trainer on the third. A round goes from the second node's object store to the third's. Prints a JSON
list. Ray's `Cluster` gives each node its raylet and its object store; the network between them is
the loopback.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._private.internal_api import node_stats
from ray.cluster_utils import Cluster

from benchmarks.scaling_run import Trainer, bank_and_board, capacity_of, drive, processor_seconds
from benchmarks.sleeping_actor import SleepingActor
from fastdfkd.platform.cluster import connect
from fastdfkd.platform.dispatcher import Dispatcher
from fastdfkd.platform.history import History

PATIENCE = {"RAY_raylet_start_wait_time_s": "120", "RAY_agent_register_timeout_ms": "110000"}
"""Ray's limits for the start of a node. Its own are too short for three on a busy machine."""
ROLES = ("synthesis", "training")
KINDS: tuple[Any, Any] = (SleepingActor, Trainer)
"""Actors of the roles."""
STORE_BYTES = 600 * 2**20
SYNTHESIZERS = 2
SLEEP_SECONDS = 0.1


@dataclass(frozen=True)
class Load:
    """What is sent."""

    side: int
    """Pixels of an image's side."""
    images: int
    """Images of a round."""
    rounds: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of a round, uint8."""
        return self.images, 3, self.side, self.side


def in_own_program(loads: Sequence[Load]) -> list[dict[str, float]]:
    """Run this module as a program; return the figures of each load.

    Raises:
        RuntimeError: it failed.
    """
    texts = [f"{load.side}:{load.images}:{load.rounds}" for load in loads]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling_nodes", *texts],
        env={**os.environ, **PATIENCE},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the measurement on three nodes failed: {done.stderr[-2000:]}")
    return list(json.loads(done.stdout.splitlines()[-1]))


def store_bytes() -> dict[str, int]:
    """Bytes that were ever written into each node's object store, by the node's id."""
    return {
        str(node["NodeID"]): int(
            node_stats(
                node["NodeManagerAddress"], node["NodeManagerPort"]
            ).store_stats.cumulative_created_bytes
        )
        for node in ray.nodes()
    }


def exchange(nodes: Mapping[str, Any], load: Load) -> dict[str, float]:
    """Send rounds from node to node.

    Args:
        nodes: Ray's nodes by role; also the `head`.
        load: what is sent.

    Returns:
        Rounds a second, processor seconds a round of the driver and of each node's raylet, and
        bytes that each node's object store took in.
    """
    capacity = min(capacity_of(load.shape), load.rounds)
    there = [{"resources": {role: 1e-3}} for role in ROLES]
    with bank_and_board(load.rounds, capacity, capacity) as (bank, board, name):
        make, train = (kind.options(**at) for kind, at in zip(KINDS, there, strict=True))
        actors = [make.remote(name, SLEEP_SECONDS, load.shape) for _ in range(SYNTHESIZERS)]
        trainer = train.remote(load.shape)
        ray.get([actor.ready.remote() for actor in (*actors, trainer)])
        raylets = {
            role: node.all_processes["raylet"][0].process.pid for role, node in nodes.items()
        }
        pids = {"driver": [os.getpid()], **{role: [pid] for role, pid in raylets.items()}}
        dispatcher = Dispatcher(bank, board, actors, History(capacity))
        stored, before, began = store_bytes(), processor_seconds(pids), time.time()
        counts = drive(dispatcher, trainer.follow.remote(bank, load.rounds))
        after, created = processor_seconds(pids), store_bytes()
        for actor in (*actors, trainer):
            ray.kill(actor)
    ids = {role: node.node_id for role, node in nodes.items()}
    return {
        "side": load.side,
        "rounds": load.rounds,
        "bytes": load.rounds * math.prod(load.shape),
        "rate": load.rounds / (counts["ended"] - began),
        **{part: (after[part] - before[part]) / load.rounds for part in after},
        **{f"{role}_store_bytes": created[at] - stored[at] for role, at in ids.items()},
    }


def main(loads: Sequence[Load]) -> list[dict[str, float]]:
    """Start the nodes, measure, stop them."""
    store = {"object_store_memory": STORE_BYTES, "num_cpus": 0}
    cluster = Cluster(True, head_node_args={**store, "include_dashboard": False})
    try:
        nodes = {"head": cluster.head_node}
        nodes |= {role: cluster.add_node(**store, resources={role: 1}) for role in ROLES}
        with connect(cluster.address):
            return [exchange(nodes, load) for load in loads]
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    print(json.dumps(main([Load(*map(int, text.split(":"))) for text in sys.argv[1:]])))
