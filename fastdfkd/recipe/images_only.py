"""The recipe of a run that only makes images: for `fastdfkd synthesize`."""

from __future__ import annotations

from typing import Any

from fastdfkd.recipe.messages import RecipeError
from fastdfkd.recipe.whole import Recipe


def images_only(recipe: Recipe) -> Recipe:
    """A recipe for the same images without a student.

    The adversarial term is off. Every image is kept. Rounds go in lock-step, so that the images
    follow from the seed also with several synthesizers. A round past warm-up counts as an update.

    Raises:
        RecipeError: the method needs a student.
    """
    try:
        synthesis = recipe.synthesis.without_student()
    except ValueError as error:
        raise RecipeError(str(error)) from None
    changes: dict[str, dict[str, Any]] = {
        "distillation": {"updates_per_round": 1, "warmup_updates": 0, "teacher_cache": None},
        "bank": {"capacity": None, "start_from": None},
        "evaluation": {"synthetic_images": 0},
        "platform": {
            "schedule": "lockstep",
            "use_idle": False,
            "workers": 0,
            "evaluations": 0,
            "publish_every": synthesis.rounds,  # no student is ever published
        },
    }
    sections = {key: getattr(recipe, key).model_copy(update=u) for key, u in changes.items()}
    return recipe.model_copy(update={"synthesis": synthesis, **sections})
