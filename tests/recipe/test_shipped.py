"""The recipes that ship: all load, and the paper's carry the values of its tables."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from fastdfkd.models import NETWORKS
from fastdfkd.recipe import (
    DeepInversionSynthesis,
    FastSynthesis,
    Recipe,
    find_recipe,
    load_recipe,
    shipped_recipes,
    table_recipes,
)
from fastdfkd.recipe.methods import GenerativeSection
from fastdfkd.reproduction.published import published

RECIPES = Path(__file__).parents[2] / "recipes"
DIGESTS = Path(__file__).parents[1] / "golden" / "digests.json"
COMPARED = ("deep-inversion", "no-reuse", "10x", "100x")
SAMPLES = {
    *(f"{data}-{setting}" for data in ("digits", "glyphs") for setting in COMPARED),
    *(f"digits-{kind}-teacher" for kind in ("gn", "vit")),
    "digits-cmi",
    "digits-cmi-adversarial",
    "digits-cmi-images",
    *(f"digits-{method}" for method in ("dafl", "zskt", "dfq", "dfad")),
    "digits-nayer",
    "digits-shapes",
    "digits-fast10",
    "digits-fast2",
    "digits-fast5",
    "glyphs-best",
    "glyphs-fast5",
    "glyphs-gn-auto",
    "glyphs-gn-best",
    "glyphs-gn-teacher",
    "glyphs-vit-auto",
    "glyphs-vit-best",
    "scenes-fast5",
}
# The settings of the paper's experiments, written down a second time on purpose.
RATES = {2: (0.005, 0.015), 5: (0.003, 0.01), 10: (0.002, 0.01)}
WEIGHTS = {"resnet34": (1.33, 0.5), "vgg11": (1.0, 0.5), "wrn-40-2": (1.1, 0.4)}
PAIRS = {
    ("resnet34", "resnet18"),
    ("vgg11", "resnet18"),
    ("wrn-40-2", "wrn-16-1"),
    ("wrn-40-2", "wrn-40-1"),
    ("wrn-40-2", "wrn-16-2"),
}


every_recipe = pytest.mark.parametrize(
    "file", [*shipped_recipes(), *table_recipes()], ids=lambda file: file.stem
)


@every_recipe
def test_a_shipped_recipe_loads_by_its_name(file: Path) -> None:
    recipe = load_recipe(file.stem)
    assert recipe.name == file.stem
    assert find_recipe(file.stem) == file
    models = {recipe.teacher.model, recipe.student.model}
    assert {model for model in models if ":" not in model} <= set(NETWORKS)
    assert recipe.description
    assert "\n" not in recipe.description


def test_the_samples_come_first() -> None:
    names = [file.stem for file in shipped_recipes()]
    assert set(names[: len(SAMPLES)]) == SAMPLES
    assert len(set(names)) == len(names) == len(SAMPLES) + 30


def test_the_digests_are_those_of_the_release_before() -> None:
    """A run is found again by its recipe's digest, in MLflow and in comparisons.

    `golden/digests.json` was written by commit 083f766; recipes that are newer were added.
    """
    expected = json.loads(DIGESTS.read_text(encoding="utf-8"))
    assert expected
    assert {name: load_recipe(name).digest() for name in expected} == expected


@pytest.fixture(scope="module")
def paper() -> list[Recipe]:
    return [load_recipe(file) for file in sorted((RECIPES / "paper").glob("*.yaml"))]


def test_every_cell_of_the_tables_has_its_recipe(paper: list[Recipe]) -> None:
    cells = {(r.data.name, r.synthesis.steps, r.teacher.model, r.student.model) for r in paper}
    assert cells == {
        (data, k, *pair) for data in ("cifar10", "cifar100") for k in RATES for pair in PAIRS
    }


def test_the_paper_recipes_carry_the_papers_values(paper: list[Recipe]) -> None:
    for recipe in paper:
        synthesis = recipe.synthesis
        assert isinstance(synthesis, FastSynthesis)
        assert (synthesis.lr_g, synthesis.lr_z) == RATES[synthesis.steps]
        assert (synthesis.adv, synthesis.oh) == WEIGHTS[recipe.teacher.model]
        assert (synthesis.bn, synthesis.bn_momentum, synthesis.meta) == (10, 0.9, "fomaml")
        assert (synthesis.latent_dim, synthesis.generator_width) == (256, 64)
        assert (synthesis.reset_after, synthesis.meta_lr) == (120, None)
        assert (synthesis.rounds, synthesis.warmup_rounds) == (220, 20)
        assert recipe.capacity == 56_320
        student = recipe.distillation
        assert (student.updates_per_round, student.batch_size, student.temperature) == (
            400,
            256,
            20,
        )
        assert (student.lr, student.min_lr) == (0.2, 2e-4)
        assert (student.momentum, student.weight_decay) == (0.9, 1e-4)
        teacher = recipe.teacher
        assert (teacher.epochs, teacher.lr, teacher.batch_size) == (200, 0.1, 128)
        assert (teacher.weight_decay, teacher.weights) == (5e-4, None)
        assert (recipe.platform.schedule, recipe.platform.synthesizers) == ("lockstep", 1)


def test_a_paper_recipe_cites_its_cell() -> None:
    text = (RECIPES / "paper" / "cifar10-resnet34-resnet18-fast5.yaml").read_text(encoding="utf-8")
    assert "CIFAR-10 table of arXiv 2112.06253, row Fast-5" in text
    assert "# paper: 93.63 % , 0.14 h" in text


def test_the_paper_recipes_are_what_their_script_writes() -> None:
    scripts = ("make_paper.py", "make_nyuv2.py", "make_imagenet.py")
    written = {
        name: text
        for script in scripts
        for name, text in runpy.run_path(str(RECIPES / script))["recipes"]().items()
    }
    folder = RECIPES / "paper"
    found = {
        file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8")
        for file in folder.rglob("*.yaml")
    }
    assert found == written


def test_every_cell_of_every_table_has_a_recipe_of_its_networks_and_images() -> None:
    for table in published().tables.values():
        for cell in table.cells():
            recipe = load_recipe(cell.recipe)
            models = (recipe.teacher.model, recipe.student.model)
            assert "/".join(model.removeprefix(table.source) for model in models) == cell.pair
            assert recipe.data.name == table.data


def test_no_recipe_of_the_tables_is_listed_with_the_others() -> None:
    tables = {file.stem for file in table_recipes()}
    assert len(tables) == 84
    assert not tables & {file.stem for file in shipped_recipes()}


def test_the_other_methods_make_as_many_student_updates_as_the_fast_rows() -> None:
    for file in table_recipes():
        recipe = load_recipe(file)
        if recipe.data.name in ("nyuv2", "folder"):
            continue
        assert recipe.updates == 80_000, file.stem
        assert recipe.distillation.batch_size == 256


def test_the_generative_recipes_use_each_image_once_and_have_their_papers_losses() -> None:
    for pair in PAIRS:
        for method in ("dafl", "zskt", "dfq", "dfad"):
            recipe = load_recipe(f"cifar10-{'-'.join(pair)}-{method}")
            synthesis, student = recipe.synthesis, recipe.distillation
            assert isinstance(synthesis, GenerativeSection)
            assert recipe.bank.draws == "in_order"
            assert synthesis.batch_size == student.updates_per_round * student.batch_size
            assert student.updates_per_round == (10 if method == "dfq" else 5)
            assert student.loss == ("l1" if method == "dfad" else "kl")
            assert (student.lr, student.temperature) == (0.1, 1.0) or method == "dfad"
            assert (synthesis.adv > 0) == (method != "dafl")
            assert synthesis.latent_dim == (512 if method == "dafl" else 256)


def test_the_rows_of_nyuv2_have_the_published_settings() -> None:
    recipes = {row: load_recipe(f"nyuv2-{row}") for row in ("dafl", "dfad", "fast10")}
    assert len({(r.data, r.input, r.teacher, r.student) for r in recipes.values()}) == 1
    for recipe in recipes.values():
        assert (recipe.updates, recipe.distillation.batch_size) == (75_000, 64)
        assert (recipe.distillation.lr, recipe.distillation.weight_decay) == (0.1, 5e-5)
    teacher, images = recipes["dfad"].teacher, recipes["dfad"].input
    assert (teacher.epochs, teacher.batch_size, teacher.lr) == (200, 16, 0.05)
    assert (images.shape, images.classes, images.normalisation) == ((3, 128, 128), 13, "half")
    generator = recipes["dfad"].synthesis
    assert isinstance(generator, GenerativeSection)
    assert (generator.rounds, generator.generator_batch_size, generator.lr_g) == (15_000, 64, 1e-3)
    assert recipes["dfad"].distillation.loss == "l1"
    assert isinstance(recipes["fast10"].synthesis, FastSynthesis)
    assert recipes["fast10"].synthesis.steps == 10


def test_the_rows_of_imagenet_have_the_authors_settings() -> None:
    students = ("resnet50", "resnet18", "mobilenet_v2")
    rows = [load_recipe(f"imagenet-resnet50-{student}-fast50") for student in students]
    images = load_recipe("imagenet-images")
    assert len({(recipe.data, recipe.input, recipe.teacher) for recipe in (images, *rows)}) == 1
    weights = []
    for recipe in (images, *rows):
        made = recipe.synthesis
        assert isinstance(made, FastSynthesis)
        assert (made.steps, made.batch_size, made.keep_codes) == (50, 100, 50)
        assert (made.lr_g, made.lr_z, made.bn, made.oh) == (2e-4, 0.01, 0.1, 0.1)
        assert (made.latent, made.latent_dim, made.meta) == ("spatial", 256, "reptile")
        weights.append(made.adv)
    assert weights == [0.0, 0.1, 1.0, 0.1]
    assert images.synthesis.rounds * images.synthesis.batch_size == 140_000
    for recipe in rows:
        assert recipe.updates == 400 * 1000
        assert recipe.synthesis.rounds * recipe.synthesis.batch_size == 400_000
        student = recipe.distillation
        assert (student.temperature, student.crop_area, student.min_lr) == (5.0, 0.75, 0.0)
        assert recipe.bank.start_from == "runs/imagenet-images"
    deep = load_recipe("imagenet-deep-inversion-images").synthesis
    assert isinstance(deep, DeepInversionSynthesis)
    assert (deep.pooled_steps, deep.steps, deep.lr_decay) == (2000, 3000, "cosine")
    assert int(224 * deep.jitter) == 30


@pytest.mark.parametrize(
    ("row", "differs"),
    [
        ("fast5-reptile", {"meta"}),
        ("fast5-none", {"meta"}),
        ("fast5-sequential", {"meta", "reset_after"}),
        ("fast5-no-momentum", {"bn_momentum"}),
        ("fast5-no-reset", {"reset_after"}),
        ("fast1", {"steps", "lr_g", "lr_z"}),
        ("fast20", {"steps", "lr_g"}),
    ],
)
def test_an_ablation_differs_from_fast5_in_what_it_is_named_after(
    row: str, differs: set[str]
) -> None:
    for data in ("cifar10", "cifar100"):
        base = load_recipe(f"{data}-wrn-40-2-wrn-16-1-fast5")
        recipe = load_recipe(f"{data}-wrn-40-2-wrn-16-1-{row}")
        sections = {"name", "description", "synthesis"}
        assert recipe.model_dump(exclude=sections) == base.model_dump(exclude=sections)
        ours, others = recipe.synthesis.model_dump(), base.synthesis.model_dump()
        assert {key for key in ours if ours[key] != others[key]} == differs


def test_the_digits_recipes_can_be_compared() -> None:
    """Same teacher, same student, same number of updates: only the synthesis differs."""
    fast = [load_recipe(f"digits-fast{k}") for k in (2, 5, 10)]
    reference = load_recipe("digits-deep-inversion")
    assert {r.updates for r in (*fast, reference)} == {525}
    assert len({r.teacher for r in (*fast, reference)}) == 1
    assert len({r.student for r in (*fast, reference)}) == 1
    assert len({load_recipe(r, {"synthesis.steps": 5}).digest() for r in fast}) == 1
    assert reference.capacity == 32
    assert "32 images" in reference.description


@pytest.mark.parametrize("data", ["digits", "glyphs"])
def test_what_is_compared_differs_in_the_synthesis_alone(data: str) -> None:
    recipes = {name: load_recipe(f"{data}-{name}") for name in COMPARED}
    assert {recipe.data.name for recipe in recipes.values()} == {data}
    for part in ("teacher", "student", "platform"):
        assert len({getattr(recipe, part) for recipe in recipes.values()}) == 1, part
    lone = {"updates_per_round": 1}
    assert len({r.distillation.model_copy(update=lone) for r in recipes.values()}) == 1
    fresh = recipes["no-reuse"].synthesis
    assert isinstance(fresh, FastSynthesis)
    assert (fresh.meta, fresh.steps, fresh.bn_momentum) == ("none", 500, 0)
    assert recipes["deep-inversion"].synthesis.steps == 2000
