"""Writes `recipes/paper/`: a recipe for each cell of the paper's CIFAR tables and of its ablations.

    .venv/bin/python -m recipes.make_paper

Rows, pairs and published figures are those of `fastdfkd/reproduction/published.yaml`; the settings
of each row stand here once. The Fast rows lie in the folder itself, the other methods in
`baselines/`, and what only the ablation tables have in `ablations/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastdfkd.reproduction.published import Cell, Table, published
from recipes.paper_parts import platform, write

FAST_RATES = {
    1: ("5.0e-3", "0.015"),
    2: ("5.0e-3", "0.015"),
    5: ("3.0e-3", "0.01"),
    10: ("2.0e-3", "0.01"),
    20: ("2.0e-3", "0.01"),
}
"""k: (lr_g, lr_z). The paper has no rates for 1 and 20; they have those of 2 and 10."""

FAST_WEIGHTS = {"resnet34": ("1.33", "0.5"), "vgg11": ("1.0", "0.5"), "wrn-40-2": ("1.1", "0.4")}
"""Teacher: (adv, oh)."""

ABLATIONS: dict[str, Mapping[str, str]] = {
    "fast5-reptile": {"meta": "reptile"},
    "fast5-sequential": {"meta": "sequential", "reset_after": "null"},
    "fast5-none": {"meta": "none"},
    "fast5-no-momentum": {"bn_momentum": "0.0"},
    "fast5-no-reset": {"reset_after": "null"},
    "fast1": {},
    "fast20": {},
}
"""Rows of the ablation tables, and what differs from the Fast row with the same k."""

RECIPE = """\
{head}
seed: 0

data:
  name: {data}
  root: data            # the folder that already holds {title}

teacher:
  model: {teacher}
  weights: null         # trained here on {title} and cached; or the path of your own weights
  epochs: 200
  batch_size: 128
  lr: 0.1
  weight_decay: 5.0e-4
  crop_padding: 4
  flip: true

student:
  model: {student}

{method}
{platform}"""

PAPER_HEAD = """\
# {title} table of arXiv 2112.06253, row {label}, column {teacher} to {student}.
# paper: {accuracy} % , {hours} h    (the paper's accuracy and synthesis hours, not measured here)
{remarks}# Written by recipes/make_paper.py.
name: {name}
description: {title}, {teacher} to {student}, {label} (the paper got {accuracy} % in {hours} h)"""

OTHER_HEAD = """\
# {title}, row {label}, column {teacher} to {student} (docs/reproducing.md).
{remarks}# Written by recipes/make_paper.py.
name: {name}
description: {title}, {teacher} to {student}, {label}"""

FAST = """\
synthesis:
  method: fast
  steps: {k}
  rounds: 220           # one batch an epoch: 56,320 images
  warmup_rounds: 20
  batch_size: 256
  lr_g: {lr_g}
  lr_z: {lr_z}
  bn: 10.0
  bn_momentum: {bn_momentum}
  oh: {oh}
  adv: {adv}
  meta: {meta}
  meta_lr: null         # lr_g * steps
  reset_after: {reset_after}
  latent_dim: 256
  generator_width: 64
  balanced_labels: false
  crop_padding: 4
  flip: true

"""

DEEP_INVERSION = """\
synthesis:
  method: deep_inversion
  steps: 2000           # as in the paper's table; the authors' script has 1000
  rounds: 200           # one batch an epoch: 51,200 images; the paper does not give the number
  warmup_rounds: 0
  batch_size: 256
  lr: 0.1
  bn: 10.0
  oh: 1.0
  adv: 1.0
  jitter: 0.125
  crop_padding: 0       # jitter shifts the image instead
  flip: true

"""

CMI = """\
synthesis:
  method: cmi
  steps: 500            # as in the paper's table; the authors' script has 200
  rounds: 200           # one batch an epoch: 51,200 images; the paper does not give the number
  warmup_rounds: 0
  batch_size: 256
  lr: 1.0e-3
  bn: 1.0
  oh: 1.0
  adv: 0.5
  cr: 0.8
  cr_temperature: 0.2
  features: {features}
  memory: 40960
  memory_draws: 4096
  latent_dim: 256
  generator_width: 64
  crop_padding: 4
  flip: true

"""

INVERSION_STUDENT = """\
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
"""

GENERATIVE = """\
synthesis:
  method: {row}
  rounds: {rounds:<13} # a generator step, then {updates} student updates: 80,000 updates in all
  warmup_rounds: 0
  batch_size: {images:<9} # {updates} updates of 256: every image is used once
  generator_steps: 1
  generator_batch_size: 256
  lr_g: 1.0e-3
  lr_decay: none
{weights}  latent_dim: {latent_dim}
  generator_width: 64

distillation:
  updates_per_round: {updates}
  batch_size: 256
  lr: 0.1
  min_lr: 2.0e-4
  momentum: 0.9
  weight_decay: 1.0e-4
{loss}  crop_padding: 0
  flip: false

bank:
  capacity: {images:<11} # the newest round
  draws: in_order       # every update trains on images that are new to the student
"""

GENERATIVE_WEIGHTS: dict[str, Mapping[str, str]] = {
    "dafl": {"oh": "1.0", "balance": "20.0", "activation": "0.001"},
    "zskt": {"adv": "1.0"},
    "dfq": {"bn": "1.0", "oh": "1.0", "balance": "20.0", "adv": "1.0"},
    "dfad": {"adv": "1.0"},
}
"""Weights of the loss, as in the code of the paper's comparison."""

Texts = tuple[str, str, str]
"""Synthesis with the student's side, additions to the platform, remarks at the top."""


def recipes() -> dict[str, str]:
    """Path below `recipes/paper/` to YAML text, of all recipes."""
    texts: dict[str, str] = {}
    for table in published().tables.values():
        if table.data.startswith("cifar"):
            for cell in table.cells():
                texts.setdefault(_path(cell), _recipe(table, cell))
    return texts


def _path(cell: Cell) -> str:
    folder = "ablations/" if cell.row in ABLATIONS else "" if _k(cell.row) else "baselines/"
    return f"{folder}{cell.recipe}.yaml"


def _k(row: str) -> int | None:
    """Inner steps of a Fast row; None for other methods."""
    first = row.partition("-")[0]
    return int(first.removeprefix("fast")) if first.startswith("fast") else None


def _recipe(table: Table, cell: Cell) -> str:
    teacher, student = cell.pair.split("/")
    networks, row = published().networks, table.rows[cell.row]
    method, more, remarks = _method(cell.row)(cell, teacher)
    title = "CIFAR-100" if table.data == "cifar100" else "CIFAR-10"
    words = {"title": title, "label": row.label, "name": cell.recipe, "remarks": remarks}
    words |= {"teacher": networks[teacher], "student": networks[student]}
    if cell.hours is None:
        head = OTHER_HEAD.format(**words)
    else:
        hours = f"{cell.hours:.1f}" if cell.hours >= 10 else f"{cell.hours:.2f}"
        head = PAPER_HEAD.format(**words, accuracy=f"{cell.accuracy:.2f}", hours=hours)
    names = {"data": table.data, "title": title, "teacher": teacher, "student": student}
    roles = platform(more, "       # one is exactly the paper's algorithm")
    return RECIPE.format(head=head, **names, method=method, platform=roles)


def _method(row: str) -> Callable[[Cell, str], Texts]:
    if _k(row):
        return _fast
    return {"deep-inversion": _deep_inversion, "cmi": _cmi}.get(row, _generative)


def _fast(cell: Cell, teacher: str) -> Texts:
    k = _k(cell.row)
    assert k is not None
    (lr_g, lr_z), (adv, oh) = FAST_RATES[k], FAST_WEIGHTS[teacher]
    usual = {"bn_momentum": "0.9", "meta": "fomaml", "reset_after": "120"}
    values = {"lr_g": lr_g, "lr_z": lr_z, "adv": adv, "oh": oh}
    synthesis = FAST.format(k=k, **{**usual, **ABLATIONS.get(cell.row, {})}, **values)
    remark = ""
    if cell.row == "fast5-sequential":
        remark = "# No layer is reset, as in the authors' code for this row.\n"
    elif k in (1, 20):
        remark = (
            f"# The paper has no rates for k = {k}; these are those of k = {2 if k == 1 else 10}.\n"
        )
    return synthesis + INVERSION_STUDENT, "", remark


def _deep_inversion(cell: Cell, teacher: str) -> Texts:
    return (
        DEEP_INVERSION + INVERSION_STUDENT,
        "",
        "# The student's side is that of the Fast rows.\n",
    )


def _cmi(cell: Cell, teacher: str) -> Texts:
    features = "norms"
    if teacher == "resnet34":
        features = "stages      # near to what the authors' code compares of this teacher"
    remark = "# From nothing, in one phase. The student's side is that of the Fast rows.\n"
    return CMI.format(features=features) + INVERSION_STUDENT, "", remark


def _generative(cell: Cell, teacher: str) -> Texts:
    updates = 10 if cell.row == "dfq" else 5
    weights = GENERATIVE_WEIGHTS[cell.row]
    text = GENERATIVE.format(
        row=cell.row,
        rounds=80_000 // updates,
        updates=updates,
        images=updates * 256,
        weights="".join(f"  {key}: {value}\n" for key, value in weights.items()),
        latent_dim=512 if cell.row == "dafl" else 256,
        loss="  loss: l1\n" if cell.row == "dfad" else "  temperature: 1.0\n",
    )
    every = f"  checkpoint_every: {8_000 // updates}\n"
    remark = (
        "# Settings are those of the code of that paper's comparison, without its faults\n"
        "# (docs/methods.md).\n"
    )
    return text, every, remark


def main() -> None:
    """Write all files."""
    write(recipes())


if __name__ == "__main__":
    main()
