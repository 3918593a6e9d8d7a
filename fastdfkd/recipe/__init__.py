"""Recipes: an experiment as data, read from YAML and checked once.

A recipe consists of sections. Each component receives its own section and nothing else. An unknown
key, a wrong type or a value out of range raises `RecipeError`, whose message names the key, the
value, what is allowed and the nearest match.

    recipe = load_recipe("recipes/sample/digits-fast5.yaml", {"synthesis.steps": 2})
"""

from fastdfkd.recipe.data_section import DataSection
from fastdfkd.recipe.image_input import InputSection, TaskName
from fastdfkd.recipe.images_only import images_only
from fastdfkd.recipe.messages import RecipeError, unknown
from fastdfkd.recipe.methods import (
    METHODS,
    CMISynthesis,
    DeepInversionSynthesis,
    FastSynthesis,
    NAYERSynthesis,
    SynthesisSection,
)
from fastdfkd.recipe.network_sections import StudentSection, TeacherSection
from fastdfkd.recipe.pixel_form import NORMALISATIONS, PixelForm
from fastdfkd.recipe.reading import (
    Overrides,
    find_recipe,
    load_recipe,
    shipped_recipes,
    table_recipes,
)
from fastdfkd.recipe.sections import (
    BankSection,
    DistillationSection,
    EvaluationSection,
    PlatformSection,
    TrackingSection,
)
from fastdfkd.recipe.whole import Recipe

__all__ = [
    "METHODS",
    "NORMALISATIONS",
    "BankSection",
    "CMISynthesis",
    "DataSection",
    "DeepInversionSynthesis",
    "DistillationSection",
    "EvaluationSection",
    "FastSynthesis",
    "InputSection",
    "NAYERSynthesis",
    "Overrides",
    "PixelForm",
    "PlatformSection",
    "Recipe",
    "RecipeError",
    "StudentSection",
    "SynthesisSection",
    "TaskName",
    "TeacherSection",
    "TrackingSection",
    "find_recipe",
    "images_only",
    "load_recipe",
    "shipped_recipes",
    "table_recipes",
    "unknown",
]
