from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from fastdfkd.core.batch_figures import BatchFigures
from fastdfkd.core.collapse import FEWEST_EVALUATIONS, CollapseWatch, newest
from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.recipe import Recipe, load_recipe

SPEC = ImageSpec(
    name="toys", shape=(1, 8, 8), num_classes=10, mean=(0.25,), std=(0.5,), class_names=()
)
EVEN = dict.fromkeys(range(10), 6)


def batch(**changes: Any) -> BatchFigures:
    """A batch of 60 images without any symptom."""
    return BatchFigures(**{"confidence": 0.8, "classes": EVEN, "distinct": 1.0, **changes})


def recipe(**changes: Any) -> Recipe:
    """40 rounds, 5 of them warm-up: the newest eight count, first after round 13."""
    return load_recipe("digits-fast5", changes)


def told(
    batches: Sequence[BatchFigures | None],
    *,
    spec: ImageSpec = SPEC,
    changes: Mapping[str, Any] | None = None,
) -> list[str]:
    """The warnings of a run with these batches."""
    watch = CollapseWatch(recipe(**(changes or {})), spec)
    for count in range(1, len(batches) + 1):
        watch.check(batches[:count], {"rounds": count})
    return watch.warnings


def evaluated(*agreements: float) -> list[str]:
    """The warnings of a run with evaluations in equal distances up to its last update."""
    watch = CollapseWatch(recipe(), SPEC)
    for number, agreement in enumerate(agreements, 1):
        updates = watch.recipe.updates * number / len(agreements)
        watch.check([batch()] * 20, {"updates": updates, "agreement": agreement})
    return watch.warnings


def test_the_newest_batches_together() -> None:
    figures = newest([batch(confidence=0.4, distinct=0.5), None, batch(classes={3: 60})], 10)
    assert figures is not None
    assert (figures.rounds, figures.images) == (2, 120)
    assert figures.confidence == pytest.approx(0.6)
    assert figures.distinct == pytest.approx(0.75)
    assert figures.coverage == 1
    assert figures.commonest == (3, 66 / 120)
    assert newest([None, None], 10) is None


def test_evenness_is_the_entropy_relative_to_what_so_few_images_can_have() -> None:
    even = newest([batch()], 10)
    assert even is not None
    assert even.evenness == pytest.approx(1, abs=0.01)
    few = newest([batch(classes=dict.fromkeys(range(8), 1))], 1000)
    assert few is not None
    assert few.evenness == pytest.approx(1, abs=0.01), "eight images cannot show 1000 classes"
    one = newest([batch(classes={4: 60})], 10)
    assert one is not None
    assert one.evenness == 0
    assert newest([batch(classes={4: 1})], 10).evenness == 1, "one image shows nothing"


def test_a_run_that_goes_well_says_nothing() -> None:
    uneven = batch(classes={**EVEN, 0: 30})
    assert told([uneven] * 40) == []
    assert told([batch(confidence=0.3)] * 40) == []
    assert told([None] * 40) == [], "a method that measures nothing"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"classes": {3: 60}}, "9 of 10 classes do not come: the teacher assigns 100%"),
        ({"classes": {3: 56, 1: 2, 2: 2}}, "7 of 10 classes do not come"),
        ({"classes": dict.fromkeys(range(5), 12)}, "5 of 10 classes do not come"),
        ({"classes": {**dict.fromkeys(range(10), 2), 7: 600}}, "assigns 97%"),
        ({"distinct": 0.02}, "look alike: 2% of a batch of the newest 8 rounds"),
        ({"confidence": 0.12}, "unsure about the 480 newest images: its mean confidence is 12%"),
    ],
    ids=str,
)
def test_a_symptom_is_said_once_with_causes(changes: dict[str, Any], says: str) -> None:
    warnings = told([batch(**changes)] * 40)
    assert len(warnings) == 1
    assert says in warnings[0]
    assert warnings[0].startswith("collapse, after 13 of 40 rounds")
    assert "\n" not in warnings[0]
    order = ["another normalisation than mean 0.25 and std 0.5", "0 to 255", "is not trained"]
    places = [warnings[0].index(cause) for cause in order]
    assert places == sorted(places)


def test_symptoms_at_once_are_one_warning_and_a_later_one_is_another() -> None:
    first = [batch(classes={3: 60}, distinct=0.0)] * 13
    warnings = told([*first, *[batch(classes={3: 60}, distinct=0.0, confidence=0.1)] * 20])
    assert len(warnings) == 2
    assert "do not come" in warnings[0]
    assert "look alike" in warnings[0]
    assert "unsure" in warnings[1]
    assert "do not come" not in warnings[1]


def test_a_bad_start_is_no_collapse() -> None:
    """Warm-up, and the first batch after it, of a generator that has learned nothing yet."""
    assert told([*[batch(classes={3: 60})] * 6, *[batch()] * 34]) == []


def test_a_run_of_one_round_is_judged_by_it() -> None:
    changes = {"synthesis.rounds": 1, "synthesis.warmup_rounds": 0}
    assert len(told([batch(classes={1: 60})], changes=changes)) == 1
    assert told([batch()], changes=changes) == []


@pytest.mark.parametrize(
    ("rounds", "newest"), [(6, 1), (7, 2), (8, 3), (20, 3), (25, 5), (85, 20), (500, 20)]
)
def test_the_newest_rounds_are_a_quarter_of_those_past_warm_up(rounds: int, newest: int) -> None:
    assert CollapseWatch(recipe(**{"synthesis.rounds": rounds}), SPEC).rounds == newest


def test_two_classes() -> None:
    spec = replace(SPEC, num_classes=2, class_names=("cat", "dog\n"))
    assert told([batch(classes={0: 30, 1: 30}, confidence=0.7)] * 40, spec=spec) == []
    (warning,) = told([batch(classes={1: 60})] * 40, spec=spec)
    assert "1 of 2 classes do not come" in warning
    assert r"class 1 (dog\n)" in warning
    assert told([batch(classes={0: 30, 1: 30}, confidence=0.52)] * 40, spec=spec)


def test_many_classes_and_few_images() -> None:
    """64 images a round: the 512 newest ones cannot show all of 1000 classes."""
    spec = replace(SPEC, num_classes=1000)
    spread = [batch(classes=dict.fromkeys(range(start, start + 64), 1)) for start in range(40)]
    wide = [batch(classes=dict.fromkeys(range(64 * r, 64 * r + 64), 1)) for r in range(15)] * 3
    assert told(wide[:40], spec=spec) == []
    assert told(spread, spec=spec), "each round shows nearly the same 64 classes"


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"synthesis.oh": 0}, "(1) synthesis.oh is 0"),
        ({"synthesis.lr_g": 1}, "(1) synthesis.lr_g is 1"),
        ({"synthesis.bn": 0}, "(1) synthesis.bn is 0"),
        ({"synthesis.bn": 1e4}, "(1) synthesis.bn is 10000"),
        ({}, "(1) the teacher was trained with another normalisation"),
    ],
    ids=str,
)
def test_unusual_values_of_the_recipe_come_first(changes: dict[str, Any], first: str) -> None:
    (warning,) = told([batch(classes={1: 60})] * 40, changes=changes)
    assert first in warning


@pytest.mark.parametrize(
    "agreements",
    [
        (0.1, 0.4, 0.85, 0.96, 0.98, 0.98),
        (0.9, 0.9, 0.9, 0.9, 0.9),
        (0.02, 0.02, 0.1, 0.3, 0.5),
        (0.1, 0.1, 0.1),
        (0.4, 0.7, 0.65, 0.75),
    ],
)
def test_a_student_that_learns(agreements: tuple[float, ...]) -> None:
    assert evaluated(*agreements) == []


@pytest.mark.parametrize(
    ("agreements", "says"),
    [
        ((0.1,) * FEWEST_EVALUATIONS, "was 10% and is 10%"),
        ((0.1, 0.62, 0.61, 0.62, 0.62, 0.61), "was 62% and is 62%"),
        ((0.1, 0.9, 0.95, 0.96, 0.3, 0.2), "fell from 96% to 30%"),
    ],
)
def test_a_student_that_stops_learning(agreements: tuple[float, ...], says: str) -> None:
    (warning,) = evaluated(*agreements)
    assert "the student stops learning" in warning
    assert says in warning
    assert "another normalisation" in warning
    assert "(distillation.lr is 0.1)" in warning


def test_without_real_images_the_agreement_on_synthetic_ones_counts() -> None:
    watch = CollapseWatch(recipe(), SPEC)
    for updates in (200, 300, 400, 500):
        watch.check([], {"updates": updates, "synthetic_agreement": 0.1})
    assert "agreement with the teacher on synthetic images was 10%" in watch.warnings[0]


def test_a_learning_rate_of_the_student_that_is_far_off_comes_first() -> None:
    watch = CollapseWatch(recipe(**{"distillation.lr": 50}), SPEC)
    for updates in (200, 300, 400, 500):
        watch.check([], {"updates": updates, "agreement": 0.1})
    assert "(1) distillation.lr is 50" in watch.warnings[0]


def test_a_resumed_run_repeats_nothing() -> None:
    bad = [batch(distinct=0.0)] * 20
    first = CollapseWatch(recipe(), SPEC)
    first.check(bad, {"updates": 100, "agreement": 0.5})
    again = CollapseWatch(recipe(), SPEC, first.state_dict())
    assert again.warnings == first.warnings
    assert again.check(bad, {"updates": 100, "agreement": 0.5})[1] is None
    assert again.agreements == {100: 0.5}, "the same evaluation once"
    assert again.check([batch(classes={1: 60})] * 20, {"updates": 110})[1] is not None


def test_the_columns_of_a_row() -> None:
    watch = CollapseWatch(recipe(), SPEC)
    columns, warning = watch.check([batch(confidence=0.75)] * 2, {"rounds": 2})
    assert warning is None
    assert columns == pytest.approx(
        {"newest_confidence": 0.75, "newest_coverage": 1.0, "newest_distinct": 1.0}
    )
    assert watch.check([None], {"rounds": 1}) == ({}, None)
