"""What is known of each key, as text."""

from __future__ import annotations

import pytest

from fastdfkd.recipe import METHODS, RecipeError
from fastdfkd.recipe.key_texts import find_keys, key_paths, section_texts


def test_a_key_has_its_values_default_and_meaning() -> None:
    ((section, (key,)),) = find_keys("distillation.temperature")
    assert (section.name, section.method) == ("distillation", "")
    assert (key.values, key.default) == ("number > 0", "`20.0`")
    assert "temperature T of the KL loss" in key.meaning


def test_a_key_of_several_methods_is_found_in_each() -> None:
    found = {section.method: keys[0].default for section, keys in find_keys("synthesis.steps")}
    assert found["fast"] == "`5`"
    assert found["deep_inversion"] == "`2000`"


def test_a_section_has_all_its_keys() -> None:
    ((section, keys),) = find_keys("bank")
    assert {key.name for key in keys} == {
        *("capacity", "start_from", "draws", "location", "scratch")
    }
    assert section.meaning
    assert {section.method for section, _ in find_keys("synthesis")} == {"", *METHODS}
    ((_, (seed,)),) = find_keys("seed")
    assert seed.default == "`0`"


def test_the_words_that_a_key_takes() -> None:
    words = {key.name: key.words for text in section_texts() for key in text.keys}
    assert words["schedule"] == ["lockstep", "async"]
    assert words["device"] == ["auto", "cpu", "cuda"]
    assert words["flip"] == ["true", "false"]
    assert words["capacity"] == ["null"]
    assert words["temperature"] == []


def test_every_path_finds_its_key() -> None:
    paths = key_paths()
    assert len(paths) == len(set(paths)) > 100
    assert {"seed", "teacher.model", "synthesis.oh", "synthesis.cr"} <= set(paths)
    for path in paths:
        name = path.rpartition(".")[2]
        assert all(key.name == name for _, keys in find_keys(path) for key in keys)


def test_an_unknown_key_names_the_nearest_one() -> None:
    with pytest.raises(RecipeError, match=r"did you mean synthesis\.steps\?"):
        find_keys("synthesis.stepz")
    with pytest.raises(RecipeError, match="lists the keys of a section: data, input"):
        find_keys("zzzz")
