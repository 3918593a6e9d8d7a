"""The table of methods: recipes, messages, schema and building follow from it."""

from __future__ import annotations

import ast
import os
import pickle
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

import pytest

import fastdfkd
from docs import make_recipe_keys
from fastdfkd.recipe import METHODS, Recipe, RecipeError, SynthesisSection, load_recipe
from fastdfkd.recipe.methods import DefaultMethod
from fastdfkd.recipe.numbers import Rate
from tests.platform.own_method import OneImage, OneImageSynthesis

ReadRecipe = Callable[..., Recipe]
ROOT = Path(fastdfkd.__file__).parent
OWN = "synthesis: {method: one_image, rounds: 30}\n"


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's method in the table."""
    monkeypatch.setitem(METHODS, "one_image", OneImageSynthesis)


REAL = [name for name in METHODS if name != "auto"]
"""Without the one that becomes another method when the teacher is known."""


@pytest.mark.parametrize("name", REAL)
def test_a_section_carries_its_name_and_its_class(name: str) -> None:
    section = METHODS[name]
    assert section.method_name() == name
    implementation = pkgutil.resolve_name(section.implementation)
    assert implementation.__module__ == f"fastdfkd.core.methods.{name}"
    assert (section is DefaultMethod) != section.model_fields["method"].is_required()


@pytest.mark.usefixtures("own")
def test_a_line_in_the_table_is_all_that_a_recipe_needs(read: ReadRecipe) -> None:
    recipe = read(OWN)
    assert isinstance(recipe.synthesis, OneImageSynthesis)
    assert pkgutil.resolve_name(recipe.synthesis.implementation) is OneImage
    assert recipe.flat()["synthesis.lr"] == 0.1
    assert "lr_g" not in recipe.to_yaml()
    assert load_recipe(recipe, {"synthesis.lr": 0.5}).synthesis.lr == 0.5
    assert load_recipe(recipe, {"synthesis.lr": 0.5}).digest() != recipe.digest()
    named = Recipe.model_json_schema()["properties"]["synthesis"]["discriminator"]["mapping"]
    assert set(named) == set(METHODS)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("synthesis.method=one_imag", "auto, one_image, got 'one_imag', did you mean one_image"),
        ("synthesis.lr=0", "synthesis.lr: expected a number above 0, got 0"),
        ("synthesis.rr=1", "did you mean lr?; allowed: batch_size, lr, method, rounds, warmup_"),
        ("synthesis.bn=1", "synthesis.bn: unknown key"),
        ("synthesis.warmup_rounds=30", "synthesis: warmup_rounds (30) must be below rounds (30)"),
    ],
)
def test_its_settings_are_refused_as_any_others(read: ReadRecipe, override: str, part: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read(OWN, [override])
    assert part in str(caught.value)


def test_without_its_line_it_is_unknown(read: ReadRecipe) -> None:
    with pytest.raises(
        RecipeError, match=r"expected one of fast, deep_inversion, .*, got 'one_image'"
    ):
        read(OWN)


@pytest.mark.usefixtures("own")
def test_the_tables_of_keys_have_its_keys() -> None:
    heading = "### `synthesis`, `method: one_image`"
    own = make_recipe_keys.block().partition(heading)[2].partition("\n### ")[0]
    assert "| `lr` | number > 0 | `0.1` | Learning rate of the image. |" in own
    assert "`bn`" not in own


def test_every_key_has_a_meaning_in_the_tables() -> None:
    rows = [line for line in make_recipe_keys.block().splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    assert [row for row in rows if row.endswith("|  |")] == []


class Nameless(SynthesisSection):
    implementation: ClassVar[str] = "nowhere:Nothing"


class Forgettable(SynthesisSection):
    implementation: ClassVar[str] = "nowhere:Nothing"
    method: Literal["forgettable"] = "forgettable"


class Bodiless(SynthesisSection):
    method: Literal["bodiless"]
    lr: Rate = 0.1


@pytest.mark.parametrize(
    ("name", "section", "part"),
    [
        ("nameless", Nameless, r"Nameless needs `method: Literal\['nameless'\]`"),
        ("other", OneImageSynthesis, r"OneImageSynthesis needs `method: Literal\['other'\]`"),
        ("forgettable", Forgettable, "`method` of Forgettable must have no default"),
        ("bodiless", Bodiless, "Bodiless needs `implementation"),
    ],
)
def test_a_line_that_cannot_work_is_an_error(
    read: ReadRecipe,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    section: type[SynthesisSection],
    part: str,
) -> None:
    monkeypatch.setitem(METHODS, name, section)
    with pytest.raises(TypeError, match=part):
        read("synthesis: {rounds: 30}\n")


PROCESS = """
import pickle, sys
from fastdfkd.recipe import METHODS
recipe = pickle.loads(bytes.fromhex(sys.argv[1]))
assert "one_image" not in METHODS
print(recipe.digest(), recipe.synthesis.summary)
"""


@pytest.mark.usefixtures("own")
def test_a_section_reaches_a_process_whose_table_does_not_have_it(read: ReadRecipe) -> None:
    """By reference to the user's module, as Ray sends it."""
    recipe = read(OWN)
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, pickle.dumps(recipe).hex()],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT.parent,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
    )
    assert done.stdout.split() == [recipe.digest(), "one_image"], done.stderr


def test_reading_a_recipe_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from fastdfkd.recipe import load_recipe\n"
        "load_recipe('digits-deep-inversion'), load_recipe('digits-fast5')\n"
        "assert not {'torch', 'ray', 'mlflow', 'fastdfkd.core'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)


METHODS_OWN = {ROOT / "recipe/methods", ROOT / "core/methods"}
TYPES_ONLY = {ROOT / "core/meta_gradient.py", ROOT / "recipe/__init__.py"}
"""FastDFKD's generator, and the names that `fastdfkd.recipe` has always offered."""


@cache
def words(file: Path) -> frozenset[str]:
    """Names and imports of a module, and the texts that it compares or looks up."""
    return frozenset(_words(file))


def _words(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(attr=word) | ast.alias(name=word):
                yield word
            case ast.Compare() | ast.Subscript() | ast.MatchValue():
                texts = (each for each in ast.walk(node) if isinstance(each, ast.Constant))
                yield from (text.value for text in texts if isinstance(text.value, str))


@pytest.mark.parametrize("name", REAL)
def test_no_other_module_names_a_method(name: str) -> None:
    section = METHODS[name]
    implementation = pkgutil.resolve_name(section.implementation).__name__
    named = {name, section.__name__, implementation}
    found = {
        file
        for file in ROOT.rglob("*.py")
        if not METHODS_OWN & set(file.parents) and named & words(file)
    }
    assert found <= TYPES_ONLY


GENERATIVE = ("dafl", "zskt", "dfq", "dfad")
COMPARED = {
    "dafl": {"oh": 1.0, "activation": 0.001, "balance": 20.0},
    "zskt": {"adv": 1.0},
    "dfq": {"bn": 1.0, "oh": 1.0, "balance": 20.0, "adv": 1.0},
    "dfad": {"adv": 1.0},
}
"""The weights of the comparison in the code of arXiv 2112.06253, written down a second time."""


@pytest.mark.parametrize("method", GENERATIVE)
def test_the_generative_defaults_are_those_of_the_comparison(method: str, read: ReadRecipe) -> None:
    section = read(f"synthesis: {{method: {method}}}\n").synthesis
    terms = ("bn", "oh", "adv", "confidence", "balance", "activation")
    weights = {term: getattr(section, term) for term in terms}
    assert {term: weight for term, weight in weights.items() if weight} == COMPARED[method]
    updates = 10 if method == "dfq" else 5
    assert section.batch_size == updates * section.generator_batch_size == updates * 256
    assert section.rounds * updates == 200 * 400
    assert (section.lr_g, section.generator_steps, section.warmup_rounds) == (1e-3, 1, 0)
    assert section.latent_dim == (512 if method == "dafl" else 256)
    assert section.shares_generator


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ("method: dfad, adv: 0", "no term of the generator's loss has a weight: set one of bn,"),
        ("method: zskt, warmup_rounds: 2", "warmup_rounds is 2, but the generator has no loss"),
        ("method: zskt, same_noise: true", "batch_size (1280) must be generator_batch_size (256)"),
        ("method: dafl, statistics: norms", "synthesis.statistics: unknown key"),
    ],
)
def test_generative_settings_that_cannot_work_are_refused(
    read: ReadRecipe, keys: str, part: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        read(f"synthesis: {{{keys}}}\n")
    assert part in str(caught.value)


def test_warm_up_is_possible_where_a_loss_needs_no_student(read: ReadRecipe) -> None:
    assert read("synthesis: {method: dfq, warmup_rounds: 2}\n").synthesis.warmup_rounds == 2
    assert read("synthesis: {method: zskt, oh: 1, warmup_rounds: 2}\n").synthesis.oh == 1


@pytest.mark.parametrize(
    ("override", "part"),
    [
        (
            ["bank.draws=in_order", "distillation.teacher_cache=4"],
            "bank.draws in_order takes new images in every update",
        ),
        (
            ["distillation.attention=1", "distillation.teacher_cache=4"],
            "attention needs the teacher's maps of every view",
        ),
    ],
)
def test_a_teacher_cache_does_not_go_with_everything(
    read: ReadRecipe, override: list[str], part: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        read("", override)
    assert part in str(caught.value)


def test_a_shortened_section_keeps_the_proportion_of_a_step_and_its_images(
    read: ReadRecipe,
) -> None:
    section = read("synthesis: {method: dafl, generator_steps: 7}\n").synthesis
    short = section.shortened(steps=5, batch_size=100)
    assert (short.steps_per_batch, short.batch_size, short.generator_batch_size) == (5, 100, 20)


@pytest.mark.parametrize("method", ["fast", "cmi", "nayer"])
def test_codes_and_exchange_are_no_part_of_older_digests(read: ReadRecipe, method: str) -> None:
    text = f"synthesis: {{method: {method}}}\n"
    plain = read(text)
    assert plain.synthesis.silent >= {"codes", "class_vectors", "channel_exchange"}
    exchanged = read(f"synthesis: {{method: {method}, channel_exchange: 0.5}}\n")
    assert exchanged.digest() != plain.digest()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("method: fast, codes: classes", "codes: classes needs balanced_labels: true"),
        ("method: fast, class_vectors: v.npy", "class_vectors has no effect with codes: noise"),
        ("method: nayer, balanced_labels: false", "codes: classes needs balanced_labels: true"),
        ("method: nayer, batch_size: 1", "codes: classes needs at least two images"),
        ("method: fast, batch_size: 1, channel_exchange: 0.5", "channel_exchange needs at least"),
        ("method: fast, channel_exchange: 1.5", "expected a number below 1"),
        ("method: nayer, class_vector_size: 0", "expected a number at least 1"),
        ("method: dafl, channel_exchange: 0.5", "channel_exchange: unknown key"),
        ("method: deep_inversion, codes: classes", "codes: unknown key"),
    ],
)
def test_codes_that_do_not_fit_are_refused(read: ReadRecipe, settings: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read(f"synthesis: {{{settings}}}\n")
