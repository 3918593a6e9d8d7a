"""The text of a new recipe for a user's own teacher, with comments (`fastdfkd init`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fastdfkd.recipe.pixel_form import NORMALISATIONS

Schedule = dict[str, dict[str, int]]

SCHEDULES: dict[str, Schedule] = {
    "short": {
        "synthesis": {"rounds": 60, "warmup_rounds": 6, "batch_size": 128},
        "distillation": {"updates_per_round": 60, "batch_size": 128},
    },
    "paper": {
        "synthesis": {"rounds": 220, "warmup_rounds": 20, "batch_size": 256},
        "distillation": {"updates_per_round": 400, "batch_size": 256},
    },
}
"""`short`: for a first look, less than an hour on a CPU for small networks. `paper`: the paper's
CIFAR schedule, for a GPU."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What `init` asks."""

    name: str
    teacher: str
    """`teacher.model`."""
    weights: str = ""
    """File of the teacher's weights; empty: its source has them."""
    shape: Sequence[int] = ()
    """(C, H, W); empty: the teacher's source or the data set says."""
    classes: str = ""
    """A number, or a file of names; empty as for the shape."""
    normalisation: str = ""
    """A name, `half` for example; empty as for the shape."""
    student: str
    """`student.model`; `teacher`: a copy of the teacher with half of its channels."""
    images: str = ""
    """Folder or zip file of held-out images in folders named after their classes; empty: none."""
    schedule: str
    """Key of `SCHEDULES`."""


def recipe_text(answers: Answers) -> str:
    """The recipe as YAML with comments. It is not checked."""
    return "\n".join(
        [
            "# Written by `fastdfkd init`. What a key means: `fastdfkd recipes KEY`.",
            f"name: {_quoted(answers.name)}",
            "",
            *_data(answers),
            "",
            *_input(answers),
            "teacher:              # the network to compress; weights are read and never executed",
            f"  model: {_quoted(answers.teacher)}",
            *([f"  weights: {_quoted(answers.weights)}"] if answers.weights else []),
            "",
            *_student(answers),
            "",
            *_schedule(SCHEDULES[answers.schedule]),
            "",
            "platform:",
            "  precision: auto     # bfloat16 if the hardware has instructions for it",
            "",
        ]
    )


def _data(answers: Answers) -> list[str]:
    if answers.images:
        return [
            "data:                 # images on which the student is evaluated, never trained",
            "  name: folder",
            f"  root: {_quoted(answers.images)}",
        ]
    return [
        "data:",
        "  name: none          # the student is compared with its teacher on synthetic images;",
        "                      # with test images of your own: `name: folder` and `root: DIR`",
    ]


def _input(answers: Answers) -> list[str]:
    """The section `input` with an empty line after it; nothing where nothing is stated."""
    lines = []
    if answers.shape:
        lines.append(f"  shape: {json.dumps(list(answers.shape))}    # channels, height, width")
    if answers.classes:
        lines.append(f"  classes: {_number_or_text(answers.classes)}")
    if answers.normalisation:
        names = ", ".join(NORMALISATIONS)
        lines.append(f"  normalisation: {_quoted(answers.normalisation)}  # one of {names}")
    head = "input:                # the images as the teacher was trained on them"
    return [head, *lines, ""] if lines else []


def _student(answers: Answers) -> list[str]:
    head = "student:              # the network to train"
    if answers.student != "teacher":
        return [head, f"  model: {_quoted(answers.student)}"]
    return [
        head,
        "  model: teacher      # the teacher's own network,",
        "  width: 0.5          # with half of the channels of every layer,",
        "  start_from: teacher # which starts with their weights",
    ]


def _schedule(schedule: Schedule) -> list[str]:
    made, used = schedule["synthesis"], schedule["distillation"]
    images = made["rounds"] * made["batch_size"]
    updates = (made["rounds"] - made["warmup_rounds"]) * used["updates_per_round"]
    return [
        "synthesis:",
        "  method: fast        # `fastdfkd recipes synthesis.method` lists the others",
        "  steps: 5            # steps for each batch: more make better images and take longer",
        f"  rounds: {made['rounds']:<11} # batches: {images:,} images in all",
        f"  warmup_rounds: {made['warmup_rounds']}",
        f"  batch_size: {made['batch_size']}",
        "  bn: auto            # 10 if the teacher has BatchNorm statistics, else 0",
        "  flip: true          # false where mirrored images are other ones: digits, text",
        "",
        "distillation:",
        f"  updates_per_round: {used['updates_per_round']}  # {updates:,} updates in all",
        f"  batch_size: {used['batch_size']}",
        "  lr: 0.1",
        "  flip: true",
    ]


def _quoted(text: str) -> str:
    """Text as YAML; JSON strings are YAML."""
    plain = text.replace("-", "").replace("_", "").replace(".", "").replace("/", "")
    words = ("true", "false", "null", "yes", "no", "on", "off", "none", "y", "n")
    safe = plain.isalnum() and plain.isascii() and not plain[0].isdigit()
    if safe and text[0].isalpha() and text.lower() not in words:
        return text
    return text if text in NORMALISATIONS else json.dumps(text)


def _number_or_text(text: str) -> str:
    return text if text.isdigit() else _quoted(text)
