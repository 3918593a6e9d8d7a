"""The section `input`: what it takes, and how it answers what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fastdfkd.recipe import NORMALISATIONS, InputSection, Recipe, RecipeError, load_recipe

MINE = {"input.shape": [3, 96, 96], "input.classes": 9, "input.normalisation": "imagenet"}


def recipe(**changes: Any) -> Recipe:
    return load_recipe("digits-fast5", {key.replace("__", "."): v for key, v in changes.items()})


def test_a_recipe_that_says_nothing_keeps_its_digest() -> None:
    plain = recipe()
    assert plain.input == InputSection()
    assert (
        recipe(input__pixel_range=1, evaluation__synthetic_images=None).digest() == plain.digest()
    )
    assert recipe(input__normalisation="half").digest() != plain.digest()
    assert recipe(student__size=20).digest() != plain.digest()


def test_every_key_comes_back_from_yaml(tmp_path: Path) -> None:
    written = load_recipe(
        "digits-fast5",
        {**MINE, "student.size": 64, "student.mean": [0.5] * 3, "student.std": [0.5] * 3},
    )
    names = written.input.model_copy(update={"classes": ("a", "b", "${c}")})
    named = written.model_copy(update={"input": names})
    for each in (written, named):
        file = tmp_path / "recipe.yaml"
        file.write_text(each.to_yaml())
        assert load_recipe(file) == each
        assert load_recipe(each) == each
    assert written.student.size == (64, 64)
    assert named.input.classes == ("a", "b", "${c}")


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_named_normalisations(name: str) -> None:
    mean, std = InputSection(normalisation=name).moments(3) or ((), ())  # type: ignore[arg-type]
    assert len(mean) == len(std) == 3
    assert all(0 <= each < 1 for each in mean)
    assert all(0 < each <= 1 for each in std)


def test_units_of_255() -> None:
    section = InputSection(mean=(127.0,) * 3, std=(128.0,) * 3, pixel_range=255)
    assert section.moments(3) == ((127 / 255,) * 3, (128 / 255,) * 3)
    bytes_as_they_are = InputSection(mean=(0.0,), std=(1.0,), pixel_range=255)
    assert bytes_as_they_are.moments(1) == ((0.0,), (1 / 255,))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"normalisation": "imagnet"},
            "input.normalisation: expected one of .*did you mean imagenet",
        ),
        ({"mean": [0.5] * 3}, "std is missing: mean and std are given together"),
        ({"std": [0.5] * 3}, "mean is missing"),
        ({"mean": [0.5] * 2, "std": [0.5] * 3}, "got 2 means and 3 deviations"),
        ({"mean": [0.5], "std": [0.0]}, "input.std.0: expected a number above 0"),
        ({"mean": [0.5], "std": [True]}, "expected a number, got true"),
        ({"mean": [123.7], "std": [58.4]}, "set pixel_range: 255"),
        (
            {"mean": [0.485], "std": [0.229], "pixel_range": 255},
            "look like numbers of pixels from 0",
        ),
        ({"mean": [0.5], "std": [0.5], "normalisation": "half"}, "keep one of them"),
        ({"mean": 0.5, "std": [0.5]}, "input.mean: expected a list, got 0.5"),
        ({"pixel_range": 255}, "both are unset"),
        ({"pixel_range": 256}, "input.pixel_range: expected one of 1, 255, got 256"),
        ({"shape": [3, 96]}, r"expected \[channels, height, width\], got \[3, 96\]"),
        ({"shape": [96, 96, 3]}, r"did you mean \[3, 96, 96\]"),
        ({"shape": [4, 96, 96]}, r"1 channel \(grey\) or 3"),
        ({"shape": [3, 1, 1]}, "at least 8 pixels, got 1x1"),
        ({"shape": 96}, "input.shape: expected a list, got 96"),
        (
            {"classes": 1},
            "at least 2 classes, got 1: a network with one output tells two classes apart",
        ),
        ({"classes": True}, "expected a number, got true"),
        ({"classes": ["cat"]}, "at least 2 names, got 1"),
        ({"classes": ["yes", True]}, "write them in quotes"),
        ({"classes": "no-such-file.txt"}, "there is no file .*no-such-file.txt"),
        ({"classes": 2.5}, "expected a number, a list of names or a file"),
        ({"size": 96}, "input.size: unknown key"),
    ],
)
def test_what_cannot_be_is_answered(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe("digits-fast5", {f"input.{key}": value for key, value in changes.items()})


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("cat\ndog\nant eater\n\n", ("cat", "dog", "ant eater")),
        ("\ufeffcat\r\ndog\r\n", ("cat", "dog")),
        (json.dumps(["cat", "dog"]), ("cat", "dog")),
        (json.dumps({"1": "dog", "0": "cat"}), ("cat", "dog")),
        (json.dumps({"0": ["n01", "cat"], "1": ["n02", "dog"]}), ("cat", "dog")),
    ],
)
def test_a_file_of_names_is_read_with_the_recipe(
    content: str, names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "names.txt").write_text(content, encoding="utf-8")
    file = tmp_path / "mine.yaml"
    file.write_text(recipe().to_yaml().replace("  classes: null", "  classes: names.txt"))
    assert load_recipe(file).input.classes == names
    monkeypatch.chdir(tmp_path)
    assert recipe(input__classes="names.txt").input.classes == names
    written = load_recipe(file).to_yaml()
    (tmp_path / "names.txt").unlink()
    file.write_text(written)
    assert load_recipe(file).input.classes == names


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"cat\n\ndog\n", "line 2 is empty"),
        (b"cat\n", "at least 2 names of classes, got 1"),
        (b"", "at least 2 names of classes, got 0"),
        (b"\xff\xfe\x00", "expected UTF-8 text"),
        (b'["cat", ', "begins like JSON, but"),
        (b'["cat", 2.5]', "expected the name of a class, got 2.5"),
        (b'{"0": "cat", "2": "dog"}', "expected the numbers 0 to 1 as keys, got '2'"),
        (b"x" * (2**22 + 1), "over 4 MiB"),
    ],
)
def test_a_file_that_is_no_list_of_names_is_answered(
    content: bytes, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes(content)
    with pytest.raises(RecipeError, match=said):
        recipe(input__classes=str(file))
