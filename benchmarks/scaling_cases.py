"""The two runs that the scaling benchmark predicts, and the costs that it measured for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from benchmarks import scaling_pieces
from benchmarks.results import FOLDER
from benchmarks.scaling_model import Costs, Setup
from fastdfkd.models import build_network
from fastdfkd.recipe import Recipe, load_recipe

SYNTHESIZERS, TRAINERS = 64, 16
RECIPES = {
    32: "recipes/paper/cifar10-wrn-40-2-wrn-16-1-fast5.yaml",
    224: "recipes/paper/imagenet/imagenet-resnet50-resnet50-fast50.yaml",
}
"""By image side."""
NETWORKS = {"10 Gbit/s": 10e9 / 8, "100 Gbit/s": 100e9 / 8}
"""Assumed bytes a second of a node's network, each way."""
ASSUMED_FLOPS = 30e12
"""FLOP/s that one H100 sustains at 224 pixels. Not measured."""
NETWORK_FLOPS, GENERATOR_FLOPS = 8.18e9, 2.65e9
"""A forward pass of one image of 224 pixels through ResNet-50, and through the recipe's generator,
counted by torch. A backward pass to the input alone takes as many, to input and weights twice."""


@dataclass(frozen=True)
class Case:
    """A run, and what its assumptions are."""

    setup: Setup
    recipe: Recipe
    text: str


def round_flops(steps: int, batch: int) -> float:
    """FLOPs of a round at 224 pixels: teacher and student pass gradients to the generator."""
    return steps * batch * (2 * 2 * NETWORK_FLOPS + 3 * GENERATOR_FLOPS)


def update_flops(batch: int) -> float:
    """FLOPs of an update at 224 pixels: the teacher's forward pass, the student's training step."""
    return batch * (NETWORK_FLOPS + 3 * NETWORK_FLOPS)


def gpu_seconds(side: int, recipe: Recipe) -> tuple[float, float, str]:
    """Seconds of a round and of an update on one H100, and where they are from."""
    if side == 32:
        measured = json.loads((FOLDER / "h100_steps.json").read_text(encoding="utf-8"))["steps"][0]
        return measured["batch_seconds"], measured["update_seconds"], "of h100_steps.json"
    steps, batch = recipe.flat()["synthesis.steps"], recipe.synthesis.batch_size
    synthesis = round_flops(steps, batch) / ASSUMED_FLOPS
    update = update_flops(recipe.distillation.batch_size) / ASSUMED_FLOPS
    return synthesis, update, f"at an assumed {ASSUMED_FLOPS / 1e12:.0f} TFLOP/s"


def networks_of(side: int) -> tuple[nn.Module, nn.Module]:
    """Teacher and student of a case, with random weights."""
    if side == 32:
        return build_network("wrn-40-2", 10, 3), build_network("wrn-16-1", 10, 3)
    import torchvision  # takes seconds

    return torchvision.models.resnet50(), torchvision.models.resnet50()


def case_of(side: int) -> Case:
    """64 synthesizers and 16 trainers with the paper's recipe for images of a side."""
    recipe = load_recipe(str(FOLDER.parents[1] / RECIPES[side]))
    teacher, student = networks_of(side)
    synthesis, update, source = gpu_seconds(side, recipe)
    generator = scaling_pieces.meta_of(recipe, (3, side, side)).generator
    setup = Setup(
        synthesizers=SYNTHESIZERS,
        trainers=TRAINERS,
        side=side,
        batch=recipe.synthesis.batch_size,
        round_seconds=synthesis,
        update_seconds=update,
        updates_per_round=recipe.distillation.updates_per_round,
        publish_every=recipe.publish_every,
        rounds=recipe.synthesis.rounds,
        capacity_rounds=recipe.capacity_rounds,
        teacher_bytes=sum(map(_bytes, teacher.state_dict().values())),
        student_bytes=sum(map(_bytes, student.state_dict().values())),
        generator_bytes=sum(map(_bytes, generator.parameters())),
        checkpoints=recipe.platform.checkpoint_every is not None,
    )
    text = (
        f"{recipe.name}: rounds of {setup.batch} images ({setup.round_bytes / 1e6:.1f} MB), "
        f"{synthesis:.3g} s a round and {1e3 * update:.3g} ms an update of the whole batch on one "
        f"H100 ({source}), {setup.updates_per_round} updates a round, {setup.rounds} rounds, "
        f"student {setup.student_bytes / 1e6:.1f} MB, shared generator "
        f"{setup.generator_bytes / 1e6:.1f} MB, checkpoints: {'yes' if setup.checkpoints else 'no'}"
    )
    return Case(setup, recipe, text)


def _bytes(tensor: Any) -> int:
    return int(tensor.nbytes)


def calls_alone() -> dict[str, float]:
    """Measured once for all sides: the calls that carry no images and no weights."""
    return {
        "driver_idle": scaling_pieces.driver_idle(),
        **scaling_pieces.driver_row_seconds(),
        **scaling_pieces.bank_seconds(),
        "board_round": scaling_pieces.board_seconds(),
    }


def weights_of(case: Case, board_round: float) -> dict[str, float]:
    """Measured with a case's own sizes: weights on the board, images in a checkpoint."""
    setup = case.setup
    student = networks_of(setup.side)[1]
    image = (3, setup.side, setup.side)
    published = scaling_pieces.publication_seconds(scaling_pieces.arrays_of(student))
    learned = scaling_pieces.generator_seconds(
        scaling_pieces.meta_of(case.recipe, image), board_round
    )
    return {
        "board_publication_byte": published / setup.student_bytes,
        "board_generator_byte": learned / setup.generator_bytes,
        "checkpoint_byte": scaling_pieces.checkpoint_byte_seconds((setup.batch, *image)),
    }


def costs_of(
    case: Case,
    calls: Mapping[str, float],
    weights: Mapping[str, float],
    rows: Sequence[Mapping[str, Any]],
    raylets: Mapping[str, float],
) -> Costs:
    """The model's costs for a case.

    Args:
        case: the run.
        calls: `calls_alone`.
        weights: `weights_of`.
        rows: of `scaling_run.measure`, of the case's side; driver and trainer are taken from the
            one of `calibration`.
        raylets: `raylet_lines`.
    """
    row = calibration(rows)
    return Costs(
        **calls,
        **weights,
        driver_round=max(1e-3 * row["driver"] - calls["driver_idle"] / row["rate"], 0.0),
        **raylets,
        trainer_round=1e-3 * row["trainer"],
    )


def raylet_lines(nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Processor seconds of a raylet for an object and for each byte of it.

    Lines through the smallest and the largest rounds of `scaling_nodes.exchange`. With rounds of
    one size, all is counted for the bytes.
    """
    found = {}
    sizes = [node["bytes"] / node["rounds"] for node in nodes]
    for role, way in (("synthesis", "out"), ("training", "in")):
        points = sorted(zip(sizes, (node[role] for node in nodes), strict=True))
        (small, less), (large, more) = points[0], points[-1]
        a_byte = (more - less) / (large - small) if large > small else more / large
        a_byte = min(max(a_byte, 0.0), more / large)
        found |= {f"raylet_{way}_byte": a_byte, f"raylet_{way}_object": more - a_byte * large}
    return found


def calibration(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first row with about as many synthesizers as the predictions have."""
    return min(rows, key=lambda row: abs(row["synthesizers"] - SYNTHESIZERS))
