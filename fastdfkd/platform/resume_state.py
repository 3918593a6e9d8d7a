"""The state from which a run starts: a new one, or a checkpoint's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastdfkd.experiment import Experiment
from fastdfkd.platform.accounting import SynthesisTotals
from fastdfkd.platform.history import History
from fastdfkd.recipe import Recipe
from fastdfkd.trainers.checkpoint import Checkpoint
from fastdfkd.trainers.filed_images import FiledImages
from fastdfkd.trainers.weights import to_arrays


@dataclass
class ResumeState:
    """Initial state of bank, board and driver."""

    board: dict[str, Any]
    """State for `WeightBoard.restore`."""
    totals: SynthesisTotals = field(default_factory=SynthesisTotals)
    history: list[tuple[int, Any]] = field(default_factory=list)
    """(round, `FiledImages`) in the bank's order; None instead where the images are gone."""
    updates: int = 0
    """Student updates made."""
    collapse: dict[str, Any] | None = None
    """State of the `CollapseWatch`; None in a new run, or where the checkpoint has none."""

    def driver_history(self, recipe: Recipe) -> History:
        """The driver's history. It keeps the bank's images and those of rounds that run ahead."""
        kept = recipe.capacity_rounds + recipe.spare_rounds
        ahead = recipe.most_rounds_ahead + recipe.platform.synthesizers
        return History(kept + ahead + 1, self.history, self.updates)

    @property
    def synthesizers(self) -> dict[int, Any]:
        """States of synthesizers by index; empty in a new run."""
        return dict(self.board.get("synthesizers", {}))

    @classmethod
    def of(
        cls, experiment: Experiment, checkpoint: Checkpoint | None, node: str = ""
    ) -> ResumeState:
        """The state of a new run or of a checkpoint, whose images stay in their files.

        Args:
            experiment: of the run.
            checkpoint: None: a new run.
            node: Ray's id of this node, which has the files.
        """
        if checkpoint is None:
            student = to_arrays(experiment.student.state_dict())
            return cls(board={"student": student, "version": 0})
        state, recipe = to_arrays(checkpoint.state), experiment.recipe
        files, rounds = checkpoint.files(), state["trainer"]["rounds"]
        held = set(rounds[-recipe.capacity_rounds :])
        kept = held & set(files)
        history = [
            (round, FiledImages(node, files[round], round) if round in kept else None)
            for round in rounds
        ]
        evaluation = state["trainer"]["clock"].get("evaluation", 0.0)
        totals = SynthesisTotals.load(state["totals"], evaluation)
        totals.count_gone(held - set(files))
        return cls(
            board=state,
            totals=totals,
            history=history,
            updates=checkpoint.updates,
            collapse=state.get("collapse"),
        )
