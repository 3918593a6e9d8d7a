"""The recipe of a run that only makes images."""

from __future__ import annotations

import pytest

from fastdfkd.recipe import METHODS, RecipeError, images_only, load_recipe
from fastdfkd.recipe.methods import SynthesisSection


@pytest.mark.parametrize(
    "name", ["digits-fast5", "digits-cmi", "digits-nayer", "digits-deep-inversion"]
)
def test_a_round_counts_as_an_update_and_nothing_needs_a_student(name: str) -> None:
    recipe = load_recipe(
        name,
        {
            "distillation.warmup_updates": 3,
            "bank.capacity": 64,
            "platform.workers": 2,
            "platform.synthesizers": 2,
            "platform.use_idle": True,
        },
    )
    derived = images_only(recipe)
    assert derived.updates == derived.synthesis.rounds - derived.synthesis.warmup_rounds
    assert derived.capacity_rounds == derived.synthesis.rounds
    assert derived.synthesis.adv == 0  # type: ignore[attr-defined]
    assert (derived.platform.workers, derived.platform.synthesizers) == (0, 2)
    assert derived.most_rounds_ahead == 0
    assert load_recipe(derived, {}) == derived, "it passes the checks of a recipe"
    assert images_only(derived) == derived, "a resumed run has the same"


def test_the_section_is_otherwise_the_same() -> None:
    recipe = load_recipe("digits-fast5")
    expected = recipe.synthesis.model_copy(update={"adv": 0.0})
    assert images_only(recipe).synthesis == expected


def test_a_method_against_a_student_is_refused() -> None:
    class Against(SynthesisSection):
        method: str = "against"

        @classmethod
        def method_name(cls) -> str:
            return "against"

    recipe = load_recipe("digits-fast5").model_copy(update={"synthesis": Against()})
    with pytest.raises(RecipeError, match=r"synthesis.method against makes images against a"):
        images_only(recipe)


@pytest.mark.parametrize("name", ["zskt", "dfad"])
def test_a_method_whose_only_term_is_adversarial_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=rf"{name} makes images against a student"):
        images_only(load_recipe(f"digits-{name}"))


def test_the_other_methods_have_images_without_a_student() -> None:
    for name in ("fast", "deep_inversion", "cmi", "nayer", "dafl", "dfq"):
        section = METHODS[name].model_validate({"method": name})
        assert section.without_student().adv == 0  # type: ignore[attr-defined]
