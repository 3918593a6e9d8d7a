"""What an exported file says of itself: classes, input, and where the student comes from."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

from fastdfkd.export.deployed import Pixels
from fastdfkd.export.finished_student import FinishedStudent
from fastdfkd.runs.environment import versions
from fastdfkd.runs.figures import FIGURES, measured

RANGES = {"uint8": "0 to 255", "unit": "0 to 1", "normalised": "(x - mean) / std"}
UNKNOWN_LICENCE = (
    "unknown. The student is derived from its teacher: the teacher's licence may apply to it"
)


def provenance(student: FinishedStudent, pixels: Pixels, licence: str | None) -> dict[str, Any]:
    """What the file is, as plain data.

    Args:
        student: of the run.
        pixels: what the file's program reads.
        licence: of the teacher, as the user states it.
    """
    spec, result, about = student.spec, student.result, student.teacher
    figures = measured(result.model_dump(include=set(FIGURES)))
    weights = about.get("weights") if about.get("source") == "weights" else None
    return {
        "made_by": f"fastdfkd {versions()['fastdfkd']}",
        "input": {
            "layout": "NCHW",
            "dtype": "uint8" if pixels == "uint8" else "float32",
            "values": RANGES[pixels],
            "shape": [None, *spec.shape],
            "mean": list(spec.mean),
            "std": list(spec.std),
        },
        "class_names": spec.class_labels,
        "student": {"model": student.recipe.student.shown, "digest": student.digest},
        "teacher": {
            "model": str(about.get("model", student.recipe.teacher.model)),
            "weights": PurePath(str(weights)).name if weights else None,
            "digest": result.teacher_digest or about.get("digest"),
            "figures": {
                name: value for name in FIGURES if (value := result.of_teacher(name)) is not None
            },
            "licence": licence or UNKNOWN_LICENCE,
        },
        "run": {
            "recipe": result.recipe,
            "recipe_digest": result.recipe_digest,
            "seed": result.seed,
            "commit": result.commit,
            "figures": figures,
            "data": spec.name,
            "warnings": list(result.warnings),
        },
    }


def flat(facts: dict[str, Any]) -> dict[str, str]:
    """The facts as texts, as formats keep them: one key a part, each value JSON if not a text."""
    return {
        f"fastdfkd:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in facts.items()
    }
