from __future__ import annotations

from collections.abc import Callable

from fastdfkd.comparison.run_records import setting_digest, setting_labels
from fastdfkd.recipe import Recipe, load_recipe


def test_settings_with_the_same_name_are_distinguished_by_what_varies(
    tiny_recipe: Callable[..., Recipe],
) -> None:
    first = tiny_recipe()
    recipes = [
        first,
        load_recipe(first, {"synthesis.steps": 2, "seed": 4, "tracking.experiment": "other"}),
        load_recipe(first, {"name": "else", "synthesis.steps": 2, "platform.evaluations": 3}),
    ]
    labels = setting_labels({setting_digest(recipe): recipe for recipe in recipes})
    assert list(labels.values()) == ["tiny steps=5", "tiny steps=2", "else"]
