"""Writes `recipes/paper/`: a file for each Fast-k cell of the paper's two CIFAR tables.

The figures stand here once; `tests/recipe/test_shipped.py` checks that the files agree with them.

    .venv/bin/python recipes/make_paper.py
"""

from __future__ import annotations

from pathlib import Path

SETTINGS = {2: ("5.0e-3", "0.015"), 5: ("3.0e-3", "0.01"), 10: ("2.0e-3", "0.01")}
"""k: (lr_g, lr_z)."""

TEACHERS = {"resnet34": ("1.33", "0.5"), "vgg11": ("1.0", "0.5"), "wrn-40-2": ("1.1", "0.4")}
"""Teacher: (adv, oh)."""

PAIRS = (
    ("resnet34", "resnet18"),
    ("vgg11", "resnet18"),
    ("wrn-40-2", "wrn-16-1"),
    ("wrn-40-2", "wrn-40-1"),
    ("wrn-40-2", "wrn-16-2"),
)
"""(teacher, student), in the order of the tables' columns."""

CELLS = {
    ("cifar10", 2): "92.62 0.06  84.67 0.03  88.36 0.03  89.56 0.03  89.68 0.03",
    ("cifar10", 5): "93.63 0.14  89.94 0.08  88.90 0.08  92.04 0.09  91.96 0.08",
    ("cifar10", 10): "94.05 0.28  90.53 0.15  89.29 0.15  92.51 0.17  92.45 0.17",
    ("cifar100", 2): "69.76 0.06  62.83 0.03  41.77 0.03  53.15 0.04  57.08 0.04",
    ("cifar100", 5): "72.82 0.14  65.28 0.08  52.90 0.07  61.80 0.09  63.83 0.08",
    ("cifar100", 10): "74.34 0.27  67.44 0.16  54.02 0.16  63.91 0.17  65.12 0.17",
}
"""(data set, k): accuracy in % and synthesis hours of each pair, as published."""

SHOWN = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "resnet34": "ResNet-34",
    "resnet18": "ResNet-18",
    "vgg11": "VGG-11",
    "wrn-40-2": "WRN-40-2",
    "wrn-40-1": "WRN-40-1",
    "wrn-16-2": "WRN-16-2",
    "wrn-16-1": "WRN-16-1",
}

TEMPLATE = """\
# {Data} table of arXiv 2112.06253, row Fast-{k}, column {Teacher} to {Student}.
# paper: {accuracy} % , {hours} h    (the paper's accuracy and synthesis hours, not measured here)
# Written by recipes/make_paper.py.
name: {name}
description: {Data}, {Teacher} to {Student}, Fast-{k} (the paper got {accuracy} % in {hours} h)
seed: 0

data:
  name: {data}
  root: data            # the folder that already holds {Data}

teacher:
  model: {teacher}
  weights: null         # trained here on {Data} and cached; or the path of your own weights
  epochs: 200
  batch_size: 128
  lr: 0.1
  weight_decay: 5.0e-4
  crop_padding: 4
  flip: true

student:
  model: {student}

synthesis:
  method: fast
  steps: {k}
  rounds: 220           # one batch an epoch: 56,320 images
  warmup_rounds: 20
  batch_size: 256
  lr_g: {lr_g}
  lr_z: {lr_z}
  bn: 10.0
  bn_momentum: 0.9
  oh: {oh}
  adv: {adv}
  meta: fomaml
  meta_lr: null         # lr_g * steps
  reset_after: 120
  latent_dim: 256
  generator_width: 64
  balanced_labels: false
  crop_padding: 4
  flip: true

distillation:
  updates_per_round: 400
  batch_size: 256
  lr: 0.2
  min_lr: 2.0e-4
  momentum: 0.9
  weight_decay: 1.0e-4
  temperature: 20.0
  crop_padding: 4
  flip: true

bank:
  capacity: null        # every image of the run

platform:
  schedule: lockstep    # the paper's order; on a cluster, platform.schedule=async is faster
  synthesizers: 1       # one is exactly the paper's algorithm
  workers: 1
  device: auto
  precision: float32
"""


def recipes() -> dict[str, str]:
    """File name to YAML text of all thirty recipes."""
    return dict(
        _recipe(data, k, pair, accuracy, hours)
        for (data, k), row in CELLS.items()
        for pair, accuracy, hours in zip(PAIRS, row.split()[::2], row.split()[1::2], strict=True)
    )


def _recipe(data: str, k: int, pair: tuple[str, str], accuracy: str, hours: str) -> tuple[str, str]:
    teacher, student = pair
    name = f"{data}-{teacher}-{student}-fast{k}"
    (lr_g, lr_z), (adv, oh) = SETTINGS[k], TEACHERS[teacher]
    text = TEMPLATE.format(
        **{"Data": SHOWN[data], "Teacher": SHOWN[teacher], "Student": SHOWN[student]},
        **{"data": data, "teacher": teacher, "student": student, "name": name, "k": k},
        **{"lr_g": lr_g, "lr_z": lr_z, "adv": adv, "oh": oh, "accuracy": accuracy, "hours": hours},
    )
    return f"{name}.yaml", text


def main() -> None:
    """Write all thirty files beside this one."""
    folder = Path(__file__).parent / "paper"
    folder.mkdir(exist_ok=True)
    for name, text in recipes().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
