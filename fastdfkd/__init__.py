"""Compress a neural network when its training data is gone: FastDFKD on Ray.

    import fastdfkd
    result = fastdfkd.distill("digits-fast5", {"synthesis.steps": 2})
    print(result.accuracy, result.directory)

Importing the package is fast: torch, Ray and MLflow are imported by the first call that needs them.
"""

from __future__ import annotations

import importlib
import os

# `typing` is not imported for this: it is slow, and the signal handlers are set up after it.
TYPE_CHECKING = False

# No usage statistics are sent by default. Ray and MLflow read these when they are imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

if TYPE_CHECKING:
    from typing import Any

    from fastdfkd.api import (
        check,
        distill,
        evaluate,
        resume,
        resume_synthesis,
        synthesize,
        train_teacher,
    )
    from fastdfkd.api.evaluation import Evaluation
    from fastdfkd.export import ExportReport, export_student, profile_student
    from fastdfkd.recipe import Recipe, RecipeError, load_recipe
    from fastdfkd.report.check_report import CheckReport
    from fastdfkd.runs.profile import Profile
    from fastdfkd.runs.result import RunResult

__all__ = [
    "CheckReport",
    "Evaluation",
    "ExportReport",
    "Profile",
    "Recipe",
    "RecipeError",
    "RunResult",
    "check",
    "distill",
    "evaluate",
    "export_student",
    "load_recipe",
    "profile_student",
    "resume",
    "resume_synthesis",
    "synthesize",
    "train_teacher",
]

_MODULES = {
    "CheckReport": "fastdfkd.report.check_report",
    "Evaluation": "fastdfkd.api.evaluation",
    "ExportReport": "fastdfkd.export",
    "Profile": "fastdfkd.runs.profile",
    "Recipe": "fastdfkd.recipe",
    "RecipeError": "fastdfkd.recipe",
    "RunResult": "fastdfkd.runs.result",
    "check": "fastdfkd.api",
    "distill": "fastdfkd.api",
    "evaluate": "fastdfkd.api",
    "export_student": "fastdfkd.export",
    "profile_student": "fastdfkd.export",
    "resume": "fastdfkd.api",
    "resume_synthesis": "fastdfkd.api",
    "synthesize": "fastdfkd.api",
    "load_recipe": "fastdfkd.recipe",
    "train_teacher": "fastdfkd.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
