"""What the release before let users import from Python, each name with the parameters it took."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

import fastdfkd

NAMES = {
    "fastdfkd": (
        "Evaluation",
        "Recipe",
        "RecipeError",
        "RunResult",
        "distill",
        "evaluate",
        "load_recipe",
        "resume",
        "train_teacher",
    ),
    "fastdfkd.__main__": ("main",),
    "fastdfkd.api": ("distill", "evaluate", "resume", "train_teacher", "train_teacher_into"),
    "fastdfkd.cli": ("main",),
    "fastdfkd.finished_run": ("Evaluation",),
    "fastdfkd.recipe": (
        "BankSection",
        "DataSection",
        "DeepInversionSynthesis",
        "DistillationSection",
        "FastSynthesis",
        "Overrides",
        "PlatformSection",
        "Recipe",
        "RecipeError",
        "StudentSection",
        "SynthesisSection",
        "TeacherSection",
        "TrackingSection",
        "find_recipe",
        "load_recipe",
        "shipped_recipes",
        "unknown",
    ),
    "fastdfkd.result": ("RunResult",),
}
NONE: dict[str, Any] = {}
POSITIONAL = {
    "distill": ("source", "overrides"),
    "evaluate": ("directory",),
    "load_recipe": ("source", "overrides"),
    "resume": ("directory",),
    "train_teacher": ("source", "overrides"),
}
KEYWORDS = {
    "distill": {
        "out": None,
        "address": None,
        "teacher": None,
        "overwrite": False,
        "parent_run_id": None,
        "progress": False,
        "run_name": None,
    },
    "evaluate": {"data_root": None},
    "load_recipe": NONE,
    "resume": {"address": None, "teacher": None, "progress": False},
    "train_teacher": {"out": None, "overwrite": False, "progress": False},
}


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in NAMES.items() for name in names]
)
def test_a_name_is_where_it_was(module: str, name: str) -> None:
    found = getattr(importlib.import_module(module), name)
    if module != "fastdfkd" and name in NAMES["fastdfkd"]:
        assert found is getattr(fastdfkd, name), "one object, whatever the path"


def test_the_package_lists_its_names() -> None:
    assert set(NAMES["fastdfkd"]) <= set(fastdfkd.__all__)
    assert set(fastdfkd.__all__) <= set(dir(fastdfkd))
    assert all(hasattr(fastdfkd, name) for name in fastdfkd.__all__)


@pytest.mark.parametrize("name", POSITIONAL)
def test_a_function_is_called_as_before(name: str) -> None:
    """The same parameters in the same places with the same defaults; new ones may follow."""
    parameters = inspect.signature(getattr(fastdfkd, name)).parameters
    assert tuple(parameters)[: len(POSITIONAL[name])] == POSITIONAL[name]
    required = [
        parameter.name
        for parameter in parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    assert required == [POSITIONAL[name][0]]
    for keyword, default in KEYWORDS[name].items():
        assert parameters[keyword].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[keyword].default == default
