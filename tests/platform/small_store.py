"""One run whose bank is larger than Ray's object store, in a process with a Ray of its own.

Arguments: a folder for the run, and the rounds between checkpoints or 0. It prints what the test
compares. Ray takes the size of its store from the environment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray._private.internal_api import node_stats

from fastdfkd.platform import cluster, pipeline
from fastdfkd.platform.history import History, images_behind
from fastdfkd.recipe import METHODS, load_recipe
from tests.platform.conftest import Rows
from tests.platform.noise_method import NoiseSynthesis, noise
from tests.platform.several_nodes import teacher_of

ROUNDS, BATCH, SIDE = 12, 64, 224
RECIPE = f"""\
name: noise
data: {{name: none}}
input: {{shape: [3, {SIDE}, {SIDE}], classes: 10, normalisation: imagenet}}
teacher: {{model: resnet8-half}}
student: {{model: resnet8-half}}
synthesis: {{method: noise, rounds: {ROUNDS}, warmup_rounds: 2, batch_size: {BATCH}}}
distillation: {{updates_per_round: 1, batch_size: 4, warmup_updates: 1}}
evaluation: {{synthetic_images: 8}}
platform: {{evaluations: 1, schedule: lockstep}}
"""


def main(folder: Path, checkpoint_every: int | None) -> dict[str, Any]:
    """Run it; return the figures."""
    METHODS["noise"] = NoiseSynthesis
    (folder / "noise.yaml").write_text(RECIPE, encoding="utf-8")
    recipe = load_recipe(folder / "noise.yaml", {"platform.checkpoint_every": checkpoint_every})
    histories: list[History] = []
    evict = History.evict

    def watched(self: History, rounds: int) -> None:
        evict(self, rounds)
        histories[:] = [self]

    History.evict = watched
    recorder, shape = Rows(), (BATCH, 3, SIDE, SIDE)
    with cluster.connect():
        result = pipeline.run(recipe, teacher_of(recipe), folder, recorder)
        (history,) = histories
        rounds = sorted(round for round, _ in history.insertions)
        references = history.references_of(rounds)
        different = [
            round
            for round, each in references.items()
            if not np.array_equal(images_behind(each), noise(recipe.seed, round, shape))
        ]
        (node,) = ray.nodes()
        statistics = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"]).store_stats
        return {
            "images": result.images,
            "updates": result.updates,
            "lost": recorder.rows[-1]["lost"],
            "rounds": rounds,
            "different": different,
            "spilled": int(statistics.spilled_bytes_total),
            "notes": result.notes,
        }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]) or None)))
