"""Damaged recipes and overrides: one short message that names the key, never a traceback."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastdfkd.cli import commands as cli
from fastdfkd.recipe import Recipe, RecipeError, load_recipe, shipped_recipes
from fastdfkd.text.shown import LONGEST, LONGEST_NAME

GOOD = Path(__file__).parents[2] / "recipes/sample/digits-fast5.yaml"
SECTIONS = ["data", "teacher", "student", "synthesis", "distillation", "bank", "platform"]
KEYS = sorted(load_recipe(GOOD).flat())
SECRET = "hunter-2-hunter"
LONGEST_MESSAGE = 25 * 1000
"""Characters of a whole message: at most 20 findings, each with the keys that are allowed."""

absurd = st.integers(1_000, 20_000).map(lambda length: "k" * length)
words = st.text(max_size=12) | st.sampled_from(
    [
        "",
        "~",
        "null",
        "[1, 2]",
        "{a: 1}",
        "{1: 2}",
        "[[[",
        "???",
        "${nothing}",
        "${seed}",
        "${oc.env:NOT_THERE}",
        "${oc.decode:'[1'}",
        "${",
        "${teacher}",
        "\\${x}",
        "!!set {a}",
        "!!python/object:os.system {}",
        "!!binary aGk=",
        "&a [*a]",
        "2020-01-01",
        "1e400",
        ".nan",
        "-.inf",
        "0x" + "f" * 5000,
        "9" * 5000,
        "'",
        "a\nb: c",
        "\t",
        "\x00",
        "\ud800",
        "‮evil",
        f"http://user:{SECRET}@host",
        "!!float x",
        "!!int x",
        "- - - -",
        "? a",
        "%TAG",
        "<<: *a",
    ]
)
numbers = st.integers() | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | words | absurd | st.binary(max_size=5) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(words | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = (
    st.sampled_from(KEYS + SECTIONS)
    | st.builds("{}.{}".format, st.sampled_from(SECTIONS + KEYS), words)
    | st.builds("{}[{}]".format, st.sampled_from(SECTIONS), words)
    | words
    | absurd
)


def check_refusal(error: RecipeError) -> None:
    """Short, printable, without secrets, and about some key."""
    message = str(error)
    assert len(message) < LONGEST_MESSAGE
    assert "k" * (LONGEST_NAME + 1) not in message
    assert SECRET not in message
    assert all(line.isprintable() for line in message.splitlines()), message
    assert ": " in message


def check(read: Any) -> None:
    try:
        recipe = read()
    except RecipeError as error:
        check_refusal(error)
    else:
        assert isinstance(recipe, Recipe)
        assert SECRET not in recipe.to_yaml()


def overrides_are_taken_or_refused(overrides: list[str] | dict[str, Any]) -> None:
    check(lambda: load_recipe(GOOD, overrides))


def damaged_files_are_taken_or_refused(folder: Path, content: bytes) -> None:
    file = folder / "damaged.yaml"
    file.write_bytes(content)
    check(lambda: load_recipe(file))


lines = st.builds("{}={}".format, keys, words | absurd | values.map(str)) | words
lines_of_it = st.lists(lines, min_size=1, max_size=4)
mapping = st.dictionaries(keys, values, min_size=1, max_size=3)
whole = GOOD.read_bytes()
flipped = st.builds(
    lambda at, bits, length: whole[:at] + bits + whole[at + length :],
    st.integers(0, len(whole)),
    st.binary(max_size=6) | st.sampled_from([b":", b"\n", b"[", b"{", b"'", b"&a", b"*a", b"\t"]),
    st.integers(0, 40),
)
replaced = st.builds(
    lambda key, value: yaml.safe_dump(
        {**yaml.safe_load(whole), key: value}, allow_unicode=True
    ).encode(errors="replace"),
    st.sampled_from(SECTIONS) | words,
    st.none() | st.lists(words, max_size=2) | words | st.dictionaries(words, words, max_size=2),
)
damaged = flipped | replaced | st.binary(max_size=80)

quick = settings(max_examples=150, deadline=None)
with_folder = settings(quick, suppress_health_check=[HealthCheck.function_scoped_fixture])
slow = settings(with_folder, max_examples=5_000)


@quick
@given(lines_of_it | mapping)
def test_overrides(overrides: list[str] | dict[str, Any]) -> None:
    overrides_are_taken_or_refused(overrides)


@with_folder
@given(damaged)
def test_files(tmp_path: Path, content: bytes) -> None:
    damaged_files_are_taken_or_refused(tmp_path, content)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(slow)
@given(lines_of_it | mapping)
def test_thousands_of_overrides(overrides: list[str] | dict[str, Any]) -> None:
    overrides_are_taken_or_refused(overrides)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(slow)
@given(damaged)
def test_thousands_of_files(tmp_path: Path, content: bytes) -> None:
    damaged_files_are_taken_or_refused(tmp_path, content)


@pytest.mark.parametrize("value", ["[1, 2]", "5", "null", "${nothing}"])
@pytest.mark.parametrize("section", [*SECTIONS, "tracking"])
def test_a_section_that_is_none_is_named_on_the_command_line(
    section: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["teacher", "digits-fast5", f"{section}={value}"]) == 2
    said = capsys.readouterr().err
    assert f"{section}: " in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", ["distill", "teacher", "submit"])
def test_a_long_value_is_shortened_and_its_key_kept(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([command, "digits-fast5", f"synthesis.steps={'k' * 10_000}"]) == 2
    said = capsys.readouterr().err
    assert "synthesis.steps: expected a whole number, got 'kkk" in said
    assert "(10,002 characters)" in said
    assert max(len(run) for run in re.findall("k+", said)) <= LONGEST


@pytest.mark.parametrize(
    "override",
    [
        f"data.name={'k' * 10_000}",
        f"student.model={'k' * 10_000}",
        f"teacher.model={'k' * 10_000}:build",
        f"teacher.weights={'k' * 10_000}.safetensors",
        f"teacher.weights={'k' * 10_000}",
    ],
)
def test_a_long_name_is_shortened_wherever_it_is_refused(
    override: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["distill", "digits-fast5", override]) == 2
    said = capsys.readouterr().err
    assert "kkk" in said
    assert len(said) < 2_000


def test_many_findings_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "many.yaml").write_text("".join(f"key{n}: {n}\n" for n in range(500)))
    assert cli.run(["teacher", str(tmp_path / "many.yaml")]) == 2
    said = capsys.readouterr().err
    assert "and 484 more" in said
    assert len(said.splitlines()) < 25


def test_a_number_too_long_to_be_written_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"seed: expected a number below 4294967296, got <int>"):
        load_recipe(GOOD, {"seed": 10**5000})


def test_overrides_go_in_order_and_a_section_is_never_half_lost() -> None:
    assert load_recipe(GOOD, ["bank=null", "bank.capacity=512"]).bank.capacity == 512
    with pytest.raises(RecipeError, match=r"override synthesis\.steps: expected synthesis to be"):
        load_recipe(GOOD, ["synthesis=5", "synthesis.steps=2"])
    deep = load_recipe(GOOD, {"synthesis": {"steps": 3}, "synthesis.lr_g": 0.5})
    assert (deep.synthesis.steps, deep.synthesis.rounds) == (3, load_recipe(GOOD).synthesis.rounds)


def test_every_recipe_that_ships_can_be_read() -> None:
    assert len([load_recipe(file) for file in shipped_recipes()]) > 30
