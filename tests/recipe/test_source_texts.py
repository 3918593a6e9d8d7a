import random

import pytest

from fastdfkd.recipe import RecipeError, load_recipe
from fastdfkd.recipe.source_texts import (
    SOURCES_VARIABLE,
    changed,
    file_and_builder,
    given,
    packed,
    text_of,
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/b.py:build", ("a/b.py", "build")),
        ("C:\\nets\\b.py:build", ("C:\\nets\\b.py", "build")),
        ("package.module:build", None),
        ("resnet18", None),
        ("b.py", None),
        ("pt2:b.py", None),
    ],
)
def test_which_names_are_files(name, found):
    assert file_and_builder(name) == found


def test_texts_of_a_recipe_are_by_its_own_paths(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("x = 'ä'")
    recipe = load_recipe(tiny_recipe(), {"teacher.model": "a.py:x", "student.model": "a.py:y"})
    assert recipe.source_texts() == {"a.py": "x = 'ä'"}
    assert recipe.source_texts("student") == {"a.py": "x = 'ä'"}
    assert tiny_recipe().source_texts() == {}


def test_the_digest_follows_the_text_of_a_file(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("x = 1")
    recipe = load_recipe(tiny_recipe(), {"student.model": "a.py:x"})
    first = recipe.digest()
    assert recipe.digest() == first
    (tmp_path / "a.py").write_text("x = 2")
    assert recipe.digest() != first
    with given({"a.py": "x = 1"}):
        assert recipe.digest() == first
    (tmp_path / "a.py").unlink()
    with pytest.raises(RecipeError, match=r"no file 'a\.py'"):
        recipe.digest()


def test_changed_files_are_named_and_those_that_are_gone_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "b.py").write_text("x = 1")
    assert changed({"a.py": "x = 1", "b.py": "x = 2", "c.py": "x = 3"}) == ["b.py"]


def test_a_job_has_the_texts_in_its_environment(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("on the head")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(SOURCES_VARIABLE, packed({"a.py": "from the user"}))
    assert text_of("a.py") == "from the user"
    with given({"a.py": "of the run"}):
        assert text_of("a.py") == "of the run"


def test_a_text_that_no_environment_takes_is_refused():
    noise = random.Random(0).randbytes(200_000).hex()
    with pytest.raises(RecipeError, match=r"a\.py: 3\d\d,\d\d\d characters when packed.*package"):
        packed({"a.py": noise})


def test_an_enormous_file_is_no_python(tmp_path):
    (tmp_path / "a.py").write_text("x" * (2**20 + 1))
    with pytest.raises(RecipeError, match=r"1,048,577 bytes, expected a Python file of at most"):
        text_of(str(tmp_path / "a.py"))
