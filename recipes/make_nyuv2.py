"""Writes `recipes/paper/nyuv2/`: a recipe for each cell of the paper's NYUv2 row (segmentation).

    .venv/bin/python -m recipes.make_nyuv2

Published figures are those of `fastdfkd/reproduction/published.yaml`. What the recipes are based on
stands at the top of each.
"""

from __future__ import annotations

from fastdfkd.reproduction.published import Cell, Table, published
from recipes.paper_parts import platform, write

RECIPE = """\
# {title} (segmentation), row {label}, {teacher} to {student}.
# {figure}
# The paper's script, label maps and schedule for NYUv2 are unpublished. {basis}
# Crops of 128 x 128 pixels, evaluation on whole images of 256 x 341, mIoU without void.
# Written by recipes/make_nyuv2.py.
name: {name}
description: {title}, {teacher} to {student}, {label} (published {accuracy} % mIoU)
seed: 0

data:
  name: nyuv2
  root: data/nyuv2      # nyu_depth_v2_labeled.mat with the published .mat files, or image files

input:
  shape: [3, 128, 128]
  classes: 13
  normalisation: half

teacher:
  model: deeplabv3-resnet50
  # The published teacher began with ImageNet weights: name the file of one. Without a file it is
  # trained here from random weights and cached; it is then less accurate than the published one.
  weights: null
  epochs: 200
  batch_size: 16
  lr: 0.05              # published: x 0.1 after 100 epochs; here a one-cycle schedule
  weight_decay: 5.0e-4
  crop_padding: 0
  flip: true

student:
  model: deeplabv3-mobilenetv2

{method}
{platform}"""

FAST = """\
synthesis:
  method: fast
  steps: 10
  rounds: 220           # as for CIFAR
  warmup_rounds: 20
  batch_size: 64        # DFAD's
  lr_g: 2.0e-3          # these and what follows: Fast-10 with a ResNet teacher on CIFAR
  lr_z: 0.01
  bn: 10.0
  bn_momentum: 0.9
  oh: 0.5
  labels: teacher       # the teacher's own classes: maps of drawn classes look like no scene
  adv: 1.33
  meta: fomaml
  meta_lr: null         # lr_g * steps
  reset_after: 120
  latent_dim: 256
  generator_width: 64
  balanced_labels: false
  crop_padding: 4
  flip: true

distillation:
  updates_per_round: 375 # 75,000 updates, as many as in DFAD's recipe
  batch_size: 64
  lr: 0.1
  min_lr: 2.0e-4
  momentum: 0.9
  weight_decay: 5.0e-5
  temperature: 20.0
  crop_padding: 4
  flip: true

bank:
  capacity: null        # every image of the run
"""

GENERATIVE = """\
synthesis:
  method: {row}
  rounds: 15000         # published: 300 epochs of 50 generator steps
  warmup_rounds: 0
  batch_size: 320       # 5 updates of 64: every image is used once
  generator_steps: 1
  generator_batch_size: 64
  lr_g: 1.0e-3          # published: x 0.3 every 100 epochs
  lr_decay: none
{weights}  latent_dim: {latent_dim}
  generator_width: 64

distillation:
  updates_per_round: 5
  batch_size: 64
  lr: 0.1
  min_lr: 9.0e-3        # a cosine; published: x 0.3 every 100 epochs, 9.0e-3 at the end
  momentum: 0.9
  weight_decay: 5.0e-5
{loss}  crop_padding: 0
  flip: false

bank:
  capacity: 320         # the newest round
  draws: in_order       # every update trains on images that are new to the student
"""

DFAD = GENERATIVE.format(
    row="dfad", weights="  adv: 1.0\n  distance: log_l1\n", latent_dim=256, loss="  loss: l1\n"
)
DAFL = GENERATIVE.format(
    row="dafl",
    weights="  oh: 1.0\n  balance: 20.0\n  activation: 0.001\n",
    latent_dim=512,
    loss="  temperature: 1.0\n",
)

METHODS = {
    "fast10": (
        FAST,
        "Synthesis is that of\n# Fast-10 with a ResNet teacher on CIFAR; batches are DFAD's.",
        "",
    ),
    "dfad": (
        DFAD,
        "This is DFAD's own\n# schedule and loss, with this package's generator.",
        "  checkpoint_every: 1500\n",
    ),
    "dafl": (
        DAFL,
        "The schedule is DFAD's, the\n# loss that of DAFL in the paper's comparison on CIFAR.",
        "  checkpoint_every: 1500\n",
    ),
}
"""Row: synthesis with the student's side, what they are based on, additions to the platform."""


def recipes() -> dict[str, str]:
    """Path below `recipes/paper/` to YAML text, of all recipes."""
    table = published().table("nyuv2")
    return {f"nyuv2/{cell.recipe}.yaml": _recipe(table, cell) for cell in table.cells()}


def _recipe(table: Table, cell: Cell) -> str:
    method, basis, more = METHODS[cell.row]
    teacher, student = (published().networks[name] for name in cell.pair.split("/"))
    accuracy = f"{cell.accuracy:.1f}"
    hours = "" if cell.hours is None else f", {cell.hours:.2f} h of synthesis ({cell.note})"
    note = f" ({cell.note})" if cell.note and cell.hours is None else ""
    return RECIPE.format(
        title=table.title.partition(",")[0],
        label=table.rows[cell.row].label,
        teacher=teacher,
        student=student,
        figure=f"Published: {accuracy} % mIoU{hours}{note}; not measured here.",
        basis=basis,
        name=cell.recipe,
        accuracy=accuracy,
        method=method,
        platform=platform(more),
    )


def main() -> None:
    """Write all files."""
    write(recipes())


if __name__ == "__main__":
    main()
