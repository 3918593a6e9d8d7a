"""What a student learns from its teacher's maps, beside the logits: a term for each key's weight.

    L = L_logits + sum over terms of weight * L_term

The teacher's maps are known for the new views of an update. Views of the teacher cache have none,
so the maps of the first F images of a batch of B are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn

from fastdfkd.core.attention import Attention
from fastdfkd.core.stage_maps import StageMaps
from fastdfkd.core.stages import Stage, Wanted, watching
from fastdfkd.core.task import Task

if TYPE_CHECKING:
    from fastdfkd.recipe import DistillationSection


class MapTerm(Protocol):
    """A distance of the student's maps from the teacher's."""

    stages: tuple[Stage, ...]
    """The stages that are compared."""
    left_out: str
    """Which sizes are not, as text; "" if all are."""
    learned: nn.ModuleDict
    """What is trained with the student and is no part of it."""

    def of_teacher(self, stage: Stage, maps: Tensor) -> Tensor:
        """What is kept of the teacher's maps (F, C, h, w) of a stage."""

    def of_student(self, stage: Stage, maps: Tensor) -> Tensor:
        """What is kept of the student's maps (F, c, h, w) of a stage."""

    def loss(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
        """The distance, a scalar, of what was kept of each stage."""

    def line(self, stage: Stage) -> str:
        """How a stage is compared, as text."""


TERMS: Mapping[str, Callable[[Task], MapTerm]] = {"attention": Attention, "stage_maps": StageMaps}
"""By the key of `distillation` that has its weight, what builds a term."""


class MapLosses:
    """The terms of a recipe: which stages are watched, what is kept of them, and their losses."""

    def __init__(self, section: DistillationSection, task: Task):
        """Find the stages of each term: both networks run on one image for it.

        Args:
            section: has the weights; a term of weight 0 is not built.
            task: its networks; what is learned is put on its device.

        Raises:
            ValueError: a term has nothing to compare.
        """
        self.teacher, self.student = task.teacher, task.student
        weights = {key: getattr(section, key) for key in TERMS}
        self.terms = {key: (weight, TERMS[key](task)) for key, weight in weights.items() if weight}
        """By key, weight and term."""
        self.learned = nn.ModuleDict({key: term.learned for key, (_, term) in self.terms.items()})
        """What is trained with the student, by key."""
        self.learned.to(task.device)

    def __bool__(self) -> bool:
        """Whether any map is compared."""
        return bool(self.terms)

    @property
    def lines(self) -> dict[str, str]:
        """By key, which stages are compared and how, and which are not."""
        return {key: "; ".join(_lines(term)) for key, (_, term) in self.terms.items()}

    def watching_teacher(self) -> AbstractContextManager[list[Tensor]]:
        """A context that collects what is kept of the teacher's maps in a forward pass."""
        if not self.terms:
            return nullcontext([])
        wanted = [
            Wanted(stage.teacher, stage.size, partial(term.of_teacher, stage))
            for _, term in self.terms.values()
            for stage in term.stages
        ]
        return watching(self.teacher, wanted)

    def watching_student(self, taught: Sequence[Tensor]) -> AbstractContextManager[list[Tensor]]:
        """A context that collects what is kept of the student's maps in a forward pass.

        Args:
            taught: what was kept of the teacher's, whose number of images decides.
        """
        if not self.terms:
            return nullcontext([])
        wanted = [
            Wanted(stage.student, stage.size, partial(term.of_student, stage))
            for _, term in self.terms.values()
            for stage in term.stages
        ]
        return watching(self.student, wanted, len(taught[0]))

    def added_to(
        self, loss: Tensor, teacher: Sequence[Tensor], student: Sequence[Tensor]
    ) -> Tensor:
        """The loss of the logits, with that of all terms added.

        Args:
            loss: a scalar.
            teacher: what `watching_teacher` collected.
            student: what `watching_student` collected.
        """
        place = 0
        for weight, term in self.terms.values():
            part = slice(place, place + len(term.stages))
            loss = loss + weight * term.loss(teacher[part], student[part])
            place = part.stop
        return loss


def _lines(term: MapTerm) -> Iterator[str]:
    compared = (f"{stage.name}: {term.line(stage)}" for stage in term.stages)
    return chain(compared, [term.left_out] if term.left_out else [])
