"""What `fastdfkd check` found, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class NetworkReport:
    """What is said of one network."""

    model: str
    """Its name in the recipe, or the class of a network given from Python."""
    source: str
    """`weights`, `trained` (here, earlier), `untrained`, `module` (given from Python), `network`
    (weights that came with it) or `initial` (the student)."""
    opened: dict[str, Any]
    """Which file was opened and what of it matched; empty without a file."""
    network: str
    """Name of its class."""
    layers: dict[str, int]
    """Number of layers that have tensors, by kind."""
    parameters: int
    macs: int | None
    """Multiply-accumulate operations for one image; None: unknown."""
    statistics: dict[str, int]
    """Layers whose running statistics a forward pass uses, by kind."""
    answer: str
    """Type of what it returns."""
    logits: tuple[int, ...]
    """Shape of the logits for one image."""
    output: str
    """What the numbers are declared to be."""
    fast_paths: dict[str, str]
    """Each change for speed with the reason why it is not made; "" if it is."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The teacher's figures on held-out images."""

    judged_on: str
    """What the images are."""
    images: int
    """Images that were used."""
    of: int
    """Images that there are."""
    figures: dict[str, float]
    """By column name, 0 to 1; empty if there is no image, or the teacher is untrained."""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What was found before anything is spent."""

    recipe: str
    """Name of the recipe."""
    images: dict[str, Any]
    """`data`, `shape`, `classes`, `mean` and `std` of the images."""
    teacher: NetworkReport
    student: NetworkReport
    held_out: HeldOut
    normalisation: dict[str, Any]
    """`plausible`, `contrast`, `layer` and `line` (`core/plausibility.py`)."""
    estimate: dict[str, Any]
    """Fields of `api.estimate.Estimate`."""
    plan: dict[str, Any]
    """What a run here would have: `device`, `synthesizers`, `workers`, `schedule`, `precision`,
    `cuda_graphs`, `compile`; with `platform.synthesis_share: auto` a line about the `share`; the
    place of the bank, `bank_location`, a line about it, `bank`, and one about Ray's object store,
    `store`."""
    schedule: dict[str, int]
    """`rounds`, `images` and `updates` of the run; `round_images` of a round, `update_images` of an
    update on one worker; `started_images` of `bank.start_from`."""
    machine: dict[str, Any]
    """`hardware`, `versions` and `commit`."""
    seconds: float
    """How long the check took."""
    compared_maps: dict[str, str] = field(default_factory=dict)
    """By key of `distillation`, which maps of the networks are compared, how, and which are not."""
    warnings: list[str] = field(default_factory=list)
    """What should be looked at before a run."""

    def facts(self) -> dict[str, Any]:
        """The report as plain data for JSON."""
        return asdict(self)
