"""A recipe: all sections of an experiment, and the checks that involve several of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from omegaconf import OmegaConf
from pydantic import Field, model_validator

from fastdfkd.recipe.data_section import DataSection
from fastdfkd.recipe.image_input import InputSection
from fastdfkd.recipe.methods import AnyMethod, DefaultMethod
from fastdfkd.recipe.network_sections import StudentSection, TeacherSection
from fastdfkd.recipe.numbers import Seed
from fastdfkd.recipe.plain import escaped, flatten
from fastdfkd.recipe.section import Section
from fastdfkd.recipe.sections import (
    BankSection,
    DistillationSection,
    EvaluationSection,
    PlatformSection,
    TrackingSection,
)
from fastdfkd.recipe.source_texts import texts_of
from fastdfkd.recipe.teacher_copy import as_teacher


class Recipe(Section):
    """One experiment: every key has a value."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Name of the recipe, used for folders and MLflow runs: letters, digits, `.`, `_` and `-`, 100
    characters at most."""
    description: str = ""
    """One line, shown by `fastdfkd recipes`."""
    seed: Seed = 0
    """Seed of all random numbers of the run."""
    data: DataSection
    input: InputSection = InputSection()
    teacher: TeacherSection
    student: StudentSection
    synthesis: AnyMethod = DefaultMethod()
    distillation: DistillationSection = DistillationSection()
    bank: BankSection = BankSection()
    evaluation: EvaluationSection = EvaluationSection()
    platform: PlatformSection = PlatformSection()
    tracking: TrackingSection = TrackingSection()

    @model_validator(mode="before")
    @classmethod
    def _student_like_teacher(cls, values: Any) -> Any:
        return as_teacher(values)

    @model_validator(mode="after")
    def _sections_fit(self) -> Recipe:
        capacity = self.bank.capacity
        if capacity is not None and capacity < self.synthesis.batch_size:
            raise ValueError(
                f"bank.capacity ({capacity}) must hold at least one batch: "
                f"synthesis.batch_size is {self.synthesis.batch_size}"
            )
        workers = max(self.platform.workers, 1)
        if self.distillation.batch_size % workers:
            raise ValueError(
                f"distillation.batch_size ({self.distillation.batch_size}) must be a multiple of "
                f"platform.workers ({workers}): every worker takes an equal share of a batch"
            )
        if self.bank.draws == "in_order" and self.distillation.teacher_cache:
            raise ValueError(
                "bank.draws in_order takes new images in every update, and "
                "distillation.teacher_cache uses old ones again: unset one of the two"
            )
        if self.platform.use_idle:
            self._idle_can_be_used()
        if self.distillation.warmup_updates >= self.updates:
            raise ValueError(
                f"distillation.warmup_updates ({self.distillation.warmup_updates}) must be fewer "
                f"than the student updates in all ({self.updates})"
            )
        return self

    def _idle_can_be_used(self) -> None:
        if self.platform.schedule == "lockstep":
            raise ValueError(
                "platform.use_idle needs platform.schedule async: in lockstep the roles take "
                "turns, and the number of steps may not depend on speed"
            )
        if not self.synthesis.has_steps:
            raise ValueError(
                "platform.use_idle gives each batch more steps, and synthesis.method "
                f"{self.synthesis.method_name()} has none: set it to false, or use a method with "
                "synthesis.steps such as fast"
            )

    @property
    def updates(self) -> int:
        """Student updates of the whole run."""
        past_warmup = self.synthesis.rounds - self.synthesis.warmup_rounds
        return past_warmup * self.distillation.updates_per_round

    @property
    def capacity(self) -> int:
        """Most images in the bank: a whole number of batches, because whole batches are removed."""
        batch = self.synthesis.batch_size
        wanted = self.bank.capacity or self.synthesis.rounds * batch
        return min(wanted, self.synthesis.rounds * batch) // batch * batch

    @property
    def most_rounds_ahead(self) -> int:
        """Rounds that synthesis may be ahead of the paper's order; 0 in lock-step."""
        if self.platform.schedule == "lockstep":
            return 0
        return self.platform.tolerance_rounds * self.platform.synthesizers

    @property
    def publish_every(self) -> int:
        """Student updates between two published versions."""
        return self.platform.publish_every or self.distillation.updates_per_round

    @property
    def capacity_rounds(self) -> int:
        """Most rounds in the bank."""
        return self.capacity // self.synthesis.batch_size

    @property
    def spare_rounds(self) -> int:
        """Rounds that left the bank but whose images stay in the object store; 0 if async.

        In lock-step a worker that restarts from a checkpoint draws from what the bank held then.
        """
        if self.platform.schedule == "async":
            return 0
        again = self.platform.checkpoint_every or self.synthesis.rounds
        return min(again + self.platform.synthesizers, self.synthesis.rounds - self.capacity_rounds)

    def flat(self) -> dict[str, Any]:
        """Every value by its dotted key, as logged to MLflow."""
        return dict(flatten(self.model_dump(mode="json")))

    def literal(self, *, unset: bool = True) -> dict[str, Any]:
        """The recipe as plain data, with `${` escaped so that OmegaConf does not interpolate.

        Args:
            unset: include keys that the recipe leaves at their default.
        """
        tree = escaped(self.model_dump(mode="json", exclude_unset=not unset))
        assert isinstance(tree, dict)
        return tree

    def to_yaml(self) -> str:
        """The recipe with all its keys as YAML, which `load_recipe` reads back unchanged."""
        return OmegaConf.to_yaml(OmegaConf.create(self.literal()))

    def source_texts(self, *roles: str) -> dict[str, str]:
        """The text of each Python file that the recipe names, by the path in the recipe.

        Args:
            roles: `teacher` or `student`, if only one of them is meant.

        Raises:
            RecipeError: a file cannot be read.
        """
        sections = [getattr(self, role) for role in roles or ("teacher", "student")]
        return texts_of(section.model for section in sections)

    def digest(self) -> str:
        """SHA-256 over what can change the result.

        It covers all keys but name, description and tracking, and the texts of Python files that
        the recipe names.

        Raises:
            RecipeError: such a file cannot be read.
        """
        left_out: dict[str, Any] = {"name": True, "description": True, "tracking": True}
        for name in type(self).model_fields:
            section = getattr(self, name)
            if name not in left_out and isinstance(section, Section):
                silent = section.silent
                left_out[name] = silent if silent < set(type(section).model_fields) else True
        content = self.model_dump(exclude=left_out)
        if texts := self.source_texts():
            content["source_texts"] = texts
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
