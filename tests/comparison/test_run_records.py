from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from fastdfkd.comparison.run_records import SettingKeys, setting_labels
from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.runs.source_texts import write_sources


def test_settings_with_the_same_name_are_distinguished_by_what_varies(
    tiny_recipe: Callable[..., Recipe],
) -> None:
    first = tiny_recipe()
    recipes = [
        first,
        load_recipe(first, {"synthesis.steps": 2, "seed": 4, "tracking.experiment": "other"}),
        load_recipe(first, {"name": "else", "synthesis.steps": 2, "platform.evaluations": 3}),
    ]
    labels = setting_labels(map(SettingKeys.of, recipes))
    assert list(labels.values()) == ["tiny steps=5", "tiny steps=2", "else"]


def test_settings_that_differ_in_the_text_of_a_file_are_distinguished(
    tiny_recipe: Callable[..., Recipe], workplace: Path
) -> None:
    recipe = load_recipe(tiny_recipe(), {"student.model": "net.py:build"})
    found = []
    for text in ("x = 1", "x = 2"):
        (workplace / "run").mkdir(exist_ok=True)
        write_sources({"net.py": text}, workplace / "run")
        found.append(SettingKeys.of_run(recipe, workplace / "run"))
    (workplace / "net.py").write_text("x = 2")
    assert SettingKeys.of(recipe) == found[1]
    assert found[0].digest != found[1].digest
    labels = [re.sub("[0-9a-f]{8}$", "*", label) for label in setting_labels(found).values()]
    assert labels == ["tiny net_py=*"] * 2
