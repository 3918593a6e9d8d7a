"""Finds out during a run that synthesis has collapsed, or that the student does not learn.

Three figures describe the images of the newest rounds (`newest`). Four symptoms follow from them
and from the evaluations (`CollapseWatch`). A run that goes well shows none of them.
docs/measuring.md has the figures of both kinds of runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastdfkd.core.batch_figures import BatchFigures
from fastdfkd.text.shown import shown_name

if TYPE_CHECKING:
    from fastdfkd.core.image_spec import ImageSpec
    from fastdfkd.recipe import Recipe

FEWEST_ROUNDS, MOST_ROUNDS = 3, 20
"""Limits of the number of newest rounds, which is a quarter of those past warm-up."""
FEWEST_EVALUATIONS = 4
"""Evaluations before a student that does not improve is reported."""

UNSURE = 0.1
"""The teacher is unsure below this confidence, as a share of the way from 1/K to 1."""
UNEVEN = 0.5
"""Most classes are missing below this entropy, as a share of that of evenly spread images."""
RARE = 0.1
"""A class is missing if fewer images belong to it than this share of an equal share."""
ALIKE = 0.3
"""The images look alike if no more than this share of them is distinct."""
WEAK = 0.8
"""A student that has stopped improving is reported below this agreement only."""

AGREEMENT = {
    "agreement": "its agreement with the teacher",
    "synthetic_agreement": "its agreement with the teacher on synthetic images",
}
"""Columns with the student's agreement, each with its text. The first one in a row counts."""


@dataclass(frozen=True, kw_only=True)
class NewestFigures:
    """Figures of the images of the newest rounds."""

    rounds: int
    images: int
    """Images, or for segmentation pixels, that the teacher's classes were counted on."""
    confidence: float
    """Mean of the teacher's largest class probability, 1/K to 1."""
    coverage: float
    """Share of the K classes that at least `RARE` of an equal share of the images belongs to."""
    evenness: float
    """Entropy of the classes as a share of its largest possible value, 0 to 1."""
    distinct: float
    """Mean share of distinct images in a batch, 0 to 1."""
    commonest: tuple[int, float]
    """The class with the most images, and its share of them."""

    @property
    def row(self) -> dict[str, float]:
        """The columns of a progress row."""
        return {
            "newest_confidence": self.confidence,
            "newest_coverage": self.coverage,
            "newest_distinct": self.distinct,
        }


def newest(batches: Sequence[BatchFigures | None], num_classes: int) -> NewestFigures | None:
    """Figures of some batches together; None if none of them was measured."""
    measured = [batch for batch in batches if batch is not None]
    if not measured:
        return None
    counts: Counter[int] = Counter()
    for batch in measured:
        counts.update(batch.classes)
    images, number = counts.total(), len(measured)
    shares = [count / images for count in counts.values()]
    entropy = -sum(share * math.log(share) for share in shares)
    expected = num_classes * (1 - (1 - 1 / num_classes) ** images)
    commonest, most = counts.most_common(1)[0]
    return NewestFigures(
        rounds=number,
        images=images,
        confidence=sum(batch.confidence for batch in measured) / number,
        coverage=sum(share >= RARE / num_classes for share in shares) / num_classes,
        evenness=min(entropy / math.log(expected), 1.0) if expected > 1 else 1.0,
        distinct=sum(batch.distinct for batch in measured) / number,
        commonest=(commonest, most / images),
    )


class CollapseWatch:
    """Tells each symptom of a collapse once.

    `check` is called with every progress row. Its state travels in checkpoints, so a resumed run
    repeats no warning and loses none.
    """

    def __init__(self, recipe: Recipe, spec: ImageSpec, state: Mapping[str, Any] | None = None):
        """Begin to watch.

        Args:
            recipe: of the run, its synthesis section without `auto`.
            spec: what the images are.
            state: of a checkpoint, from `state_dict`.
        """
        self.recipe, self.spec = recipe, spec
        state = state or {}
        self.warnings: list[str] = list(state.get("warnings", ()))
        """The warnings so far, each one line."""
        self.told: set[str] = set(state.get("told", ()))
        """Symptoms that `warnings` contains."""
        self.agreements: dict[int, float] = dict(state.get("agreements", {}))
        """Agreement of student and teacher by the number of updates before the evaluation."""

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "warnings": list(self.warnings),
            "told": sorted(self.told),
            "agreements": dict(self.agreements),
        }

    @property
    def rounds(self) -> int:
        """Number of rounds that count as the newest ones."""
        section = self.recipe.synthesis
        past = section.rounds - section.warmup_rounds
        return min(max(past // 4, FEWEST_ROUNDS), past, MOST_ROUNDS)

    def check(
        self, batches: Sequence[BatchFigures | None], row: Mapping[str, float]
    ) -> tuple[dict[str, float], str | None]:
        """Look at the run after a progress row.

        Args:
            batches: figures of the batches so far in order; None where a batch was not measured.
            row: the progress row.

        Returns:
            The columns that describe the newest images, and a new warning or None.
        """
        column = next((name for name in AGREEMENT if name in row), None)
        if column is not None:
            self.agreements[int(row["updates"])] = row[column]
        figures = newest(batches[-self.rounds :], self.spec.num_classes)
        found = {} if column is None else self._student(int(row["updates"]), AGREEMENT[column])
        if figures is not None and len(batches) >= self._first_judged:
            found = {**self._images(figures), **found}
        fresh = {symptom: text for symptom, text in found.items() if symptom not in self.told}
        columns = figures.row if figures is not None else {}
        if not fresh:
            return columns, None
        self.told.update(fresh)
        rounds = f"after {len(batches)} of {self.recipe.synthesis.rounds} rounds"
        warning = f"collapse, {rounds}: {'; '.join(fresh.values())}. {self._causes(list(fresh))}"
        self.warnings.append(warning)
        return columns, warning

    @property
    def _first_judged(self) -> int:
        """Rounds before the images are judged: warm-up, and as many as are looked at."""
        return self.recipe.synthesis.warmup_rounds + self.rounds

    def _images(self, figures: NewestFigures) -> dict[str, str]:
        """Symptoms of the newest images, each with its text."""
        found, classes = {}, self.spec.num_classes
        of = f"the {figures.images:,} newest images"
        expected = classes * (1 - (1 - 1 / classes) ** figures.images)
        came = round(figures.coverage * classes)
        if came <= expected / 2 or figures.evenness < UNEVEN:
            label, share = figures.commonest
            missing = (
                f"{classes - came} of {classes} classes do not"
                if came < classes
                else ("most classes hardly")
            )
            found["classes"] = (
                f"images of {missing} come: the teacher assigns {share:.0%} of {of} to class "
                f"{self._name(label)}"
            )
        if figures.distinct <= ALIKE:
            found["alike"] = (
                f"the images look alike: {figures.distinct:.0%} of a batch of the newest "
                f"{figures.rounds} rounds differ from all others"
            )
        if (figures.confidence - 1 / classes) / (1 - 1 / classes) < UNSURE:
            found["unsure"] = (
                f"the teacher is unsure about {of}: its mean confidence is "
                f"{figures.confidence:.0%}, and {1 / classes:.0%} is a guess"
            )
        return found

    def _student(self, updates: int, agreement: str) -> dict[str, str]:
        """The symptom that the student stops learning, with its text, after an evaluation."""
        agreements = [agreement for _, agreement in sorted(self.agreements.items())]
        if len(agreements) < FEWEST_EVALUATIONS or 2 * updates < self.recipe.updates:
            return {}
        half = len(agreements) // 2
        earlier, later = max(agreements[:half]), max(agreements[half:])
        newest, best = max(agreements[-2:]), max(agreements)
        if later < WEAK and later <= earlier + 0.01:
            text = f"{agreement} was {earlier:.0%} and is {later:.0%}"
        elif newest < best / 2:
            text = f"{agreement} fell from {best:.0%} to {newest:.0%}"
        else:
            return {}
        return {"student": f"the student stops learning: {text} after {updates:,} updates"}

    def _name(self, label: int) -> str:
        names = self.spec.class_names
        return f"{label} ({shown_name(names[label])})" if names else str(label)

    def _causes(self, symptoms: Sequence[str]) -> str:
        """The likely causes of symptoms: values of the recipe first, then what cannot be seen."""
        recipe, spec = self.recipe, self.spec
        mean, std = (", ".join(f"{v:.3g}" for v in values) for values in (spec.mean, spec.std))
        pixels = [
            f"the teacher was trained with another normalisation than mean {mean} and std {std}: "
            "set input.normalisation, or input.mean and input.std",
            "the teacher expects another range of pixels, such as 0 to 255: set input.pixel_range "
            "with the mean and std of that range",
            "the teacher is not trained, or its weights do not belong to its network",
        ]
        causes = [*recipe.synthesis.suspects, *pixels]
        if "student" in symptoms:
            causes = [*recipe.distillation.suspects, *causes]
            causes.append(
                "the student is too small, or its learning rate does not suit it (distillation.lr "
                f"is {recipe.distillation.lr:g})"
            )
        listed = "; ".join(f"({number}) {cause}" for number, cause in enumerate(causes, 1))
        return f"Likely causes, the likeliest first: {listed}"
