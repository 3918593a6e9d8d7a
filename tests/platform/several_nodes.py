"""One run on a Ray cluster of three nodes on this machine, as a program of its own.

    python -m tests.platform.several_nodes KIND COUNT LOSE FOLDER

A program, because the process of the tests is connected to another cluster. Prints a JSON object.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
import torch
from ray._private.internal_api import node_stats
from ray._private.state import available_resources_per_node
from ray.cluster_utils import Cluster

from fastdfkd.core.random_streams import seeded
from fastdfkd.data import scenes
from fastdfkd.data.scene_drawing import CLASSES
from fastdfkd.models import build_network
from fastdfkd.platform import cluster, pipeline
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.trainers.teacher import Teacher
from tests.platform.conftest import TINY, Rows

ROUNDS = {"scenes": 60, "large": 10}
"""Long enough that a node is lost before the last update."""
SHORT = {
    **TINY,
    "synthesis.reset_after": None,
    "synthesis.batch_size": 8,
    "distillation.batch_size": 8,
    "distillation.updates_per_round": 2,
    "platform.evaluations": 1,
}
NETWORKS = {"scenes": ("unet-half", 32), "large": ("resnet8-half", 224)}


def recipe_of(kind: str, count: int) -> Recipe:
    """A small recipe with `count` synthesizers and as many workers: scenes, or 224 pixels."""
    roles = {"platform.synthesizers": count, "platform.workers": count}
    own: dict[str, Any] = {**roles, "synthesis.rounds": ROUNDS[kind]}
    if kind == "scenes":
        networks = {"teacher.model": "unet-half", "student.model": "unet-half"}
        return load_recipe("scenes-fast5", {**SHORT, **own, **networks, **WARM})
    shape = {"data.name": "none", "input.shape": [3, 224, 224], "input.classes": 10}
    networks = {"teacher.model": "resnet8-half", "student.model": "resnet8-half"}
    judge = {"evaluation.synthetic_images": 8, "input.normalisation": "imagenet"}
    return load_recipe("digits-fast5", {**SHORT, **own, **shape, **networks, **judge})


WARM = {"distillation.warmup_updates": 1, "platform.precision": "float32"}


def teacher_of(recipe: Recipe) -> Teacher:
    """A teacher of random weights whose BatchNorm statistics are of noise."""
    kind = "scenes" if recipe.data.name == "scenes" else "large"
    model, size = NETWORKS[kind]
    classes = len(CLASSES) if kind == "scenes" else 10
    with seeded(7, "test-teacher"), torch.no_grad():
        network = build_network(model, classes, 3).train()
        network(torch.randn(8, 3, size, size))
    network.eval().requires_grad_(False)
    return Teacher(model=network, accuracy=0.1, digest="0" * 64, description={})


class LosesANode(Rows):
    """A recorder that removes a node that is in use, other than the driver's, after a few rows."""

    def __init__(self, nodes: Cluster, lose: bool) -> None:
        super().__init__()
        self.nodes, self.left, self.removed = nodes, 3 if lose else 0, 0

    def log(self, row: dict[str, float]) -> None:
        super().log(row)
        self.left -= 1
        if self.left == 0 and "updates" not in row:
            self.left = 1  # not before the first update
        elif self.left == 0:
            threading.Thread(target=self._remove).start()

    def _remove(self) -> None:
        free = available_resources_per_node()
        for node in self.nodes.worker_nodes:
            if free[node.node_id].get("CPU", 0.0) == 0.0:
                self.nodes.remove_node(node, allow_graceful=False)
                self.removed += 1
                return


class Reads:
    """Bytes of image batches that this process takes out of the object store."""

    def __init__(self) -> None:
        self.bytes, self.batches = 0, 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count during the block."""
        get = ray.get

        def counting(*args: Any, **options: Any) -> Any:
            answer = get(*args, **options)
            if isinstance(answer, np.ndarray) and answer.ndim == 4:
                self.bytes, self.batches = self.bytes + answer.nbytes, self.batches + 1
            return answer

        ray.get = counting
        try:
            yield
        finally:
            ray.get = get


def store_bytes() -> int:
    """Bytes that were ever written into the object store of the driver's node."""
    node = next(node for node in ray.nodes() if node["NodeID"] == driver_node())
    address = node["NodeManagerAddress"], node["NodeManagerPort"]
    return int(node_stats(*address).store_stats.cumulative_created_bytes)


def driver_node() -> str:
    """Ray's id of this process's node."""
    return str(ray.get_runtime_context().get_node_id())


def main(kind: str, count: int, lose: bool, folder: Path) -> dict[str, Any]:
    """Run it; return what the test compares."""
    scenes.SceneSettings = partial(scenes.SceneSettings, train=32, test=8)  # type: ignore
    recipe = recipe_of(kind, count)
    store = {"object_store_memory": 150 * 2**20}
    head = {"num_cpus": count if lose else 0, "include_dashboard": False, **store}
    nodes = Cluster(True, head_node_args=head)
    try:
        for _ in range(2):
            nodes.add_node(num_cpus=count, **store)
        reads, process = Reads(), psutil.Process()
        with cluster.connect(nodes.address), reads.counted():
            recorder = LosesANode(nodes, lose)
            before = store_bytes()
            result = pipeline.run(recipe, teacher_of(recipe), folder, recorder)
            stored = store_bytes() - before
        height, width = recipe.input.shape[1:] if recipe.input.shape else (32, 32)
        return {
            "updates": [result.updates, recipe.updates],
            "images": [result.images, ROUNDS[kind] * recipe.synthesis.batch_size],
            "rounds": ROUNDS[kind],
            "bytes": result.images * 3 * height * width,
            "driver_batches": reads.batches,
            "driver_bytes": reads.bytes,
            "driver_store_bytes": stored,
            "driver_memory": process.memory_info().rss,
            "removed": recorder.removed,
            **{k: recorder.rows[-1][k] for k in ("lost", "restarts", "worker_restarts")},
        }
    finally:
        nodes.shutdown()


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", Path(sys.argv[4]))))
