"""The model card of a student, in Markdown with the header that Hugging Face reads."""

from __future__ import annotations

import json
from typing import Any

from fastdfkd.export.finished_student import FinishedStudent
from fastdfkd.runs.figures import FIGURES
from fastdfkd.text.safe_text import markdown

_MOST_CLASSES = 50
"""Classes that are listed; all are in `metadata.json`."""


def model_card(student: FinishedStudent, facts: dict[str, Any], licence: str | None) -> str:
    """What the student is, how it was made, what it reads, and how well it does.

    Args:
        student: of the run.
        facts: of `provenance.provenance`.
        licence: of the teacher, as the user states it.
    """
    spec, run, teacher = student.spec, facts["run"], facts["teacher"]
    names = facts["class_names"]
    listed = ", ".join(markdown(name) for name in names[:_MOST_CLASSES])
    more = f" and {len(names) - _MOST_CLASSES:,} more" if len(names) > _MOST_CLASSES else ""
    given = ", weights " + markdown(teacher["weights"]) if teacher["weights"] else ""
    parts = [
        _header(student, licence),
        f"# {markdown(run['recipe'])}",
        f"{markdown(facts['student']['model'])}, trained by {markdown(facts['made_by'])} to answer "
        "as a larger network, its teacher, without the data that the teacher was trained on: the "
        "training images were synthesised from the teacher.",
        "## Input",
        f"Images of {spec.channels} {'channel' if spec.channels == 1 else 'channels'}, "
        f"{spec.shape[1]} x {spec.shape[2]} pixels, resized bilinearly with antialiasing. Pixels "
        f"from 0 to 1 are normalised as (x - mean) / std, mean {_numbers(spec.mean)}, std "
        f"{_numbers(spec.std)}.",
        "## Output",
        f"Logits of {len(names):,} classes: {listed}{more}.",
        "## Figures",
        _figures(run["figures"], teacher["figures"]),
        "No figure says how well it does on images of another kind. A student without real test "
        "images is compared with its teacher on synthetic ones: an agreement there is no accuracy.",
        *_warnings(run["warnings"]),
        "## Origin",
        f"Teacher: {markdown(teacher['model'])}{given}; digest {str(teacher['digest'])[:12]}. "
        f"Licence of the teacher: {markdown(teacher['licence'])}.",
        f"Recipe {markdown(run['recipe'])}, digest {run['recipe_digest'][:12]}, seed "
        f"{run['seed']}, commit {markdown(str(run['commit'])[:12])}. Digest of the student's "
        f"weights: {facts['student']['digest'][:12]}.",
    ]
    return "\n\n".join(parts) + "\n"


def _header(student: FinishedStudent, licence: str | None) -> str:
    known = student.known_to_transformers
    segments = bool(student.spec.kind.spatial_axes)
    lines = [
        f"library_name: {'transformers' if known else 'pytorch'}",
        f"pipeline_tag: {'image-segmentation' if segments else 'image-classification'}",
        *([f"license: {json.dumps(licence)}"] if licence else []),
        "tags: [knowledge-distillation, data-free, fastdfkd]",
    ]
    return "\n".join(["---", *lines, "---"])


def _figures(figures: dict[str, float], teacher: dict[str, float]) -> str:
    named = [("", figures), (" of the teacher", teacher)]
    rows = [
        f"| {FIGURES[key].name}{of} | {FIGURES[key].show(value)} |"
        for of, values in named
        for key, value in values.items()
    ]
    if not rows:
        return "The run measured none."
    return "\n".join(["| figure | value |", "| --- | ---: |", *rows])


def _warnings(warnings: list[str]) -> list[str]:
    return ["The run warned:\n\n" + "\n".join(f"- {markdown(each)}" for each in warnings)] * bool(
        warnings
    )


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
