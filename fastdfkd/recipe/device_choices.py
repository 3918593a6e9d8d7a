"""What a recipe leaves open and a GPU decides: the fast settings, where the recipe has none.

`platform.cuda_graphs: false` in a recipe turns off all of them: the run is in float32 without
graphs, whose numbers depend on nothing that was chosen.
"""

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
    """The recipe for a run on CUDA: keys of `ON_CUDA` that it does not set are set.

    A recipe that sets `platform.cuda_graphs` to false stays as it is.
    """
    platform = recipe.platform
    if "cuda_graphs" in platform.model_fields_set and platform.cuda_graphs is False:
        return recipe
    unset = {}
    for key, value in ON_CUDA.items():
        section, _, name = key.partition(".")
        if name not in getattr(recipe, section).model_fields_set:
            unset[key] = value
    return load_recipe(recipe, unset) if unset else recipe
