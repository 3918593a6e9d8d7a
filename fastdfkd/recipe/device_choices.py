"""What a recipe leaves open and a GPU decides: the fast settings, where the recipe has none."""

from __future__ import annotations

from fastdfkd.recipe.reading import load_recipe
from fastdfkd.recipe.whole import Recipe

ON_CUDA = {
    "teacher.precision": "auto",
    "platform.precision": "auto",
    "platform.cuda_graphs": "auto",
}
"""Values of keys that a recipe does not set, where its run is on CUDA. On a CPU their defaults
hold: float32 without graphs."""


def with_cuda_choices(recipe: Recipe) -> Recipe:
    """The recipe for a run on CUDA: keys of `ON_CUDA` that it does not set are set."""
    unset = {}
    for key, value in ON_CUDA.items():
        section, _, name = key.partition(".")
        if name not in getattr(recipe, section).model_fields_set:
            unset[key] = value
    return load_recipe(recipe, unset) if unset else recipe
