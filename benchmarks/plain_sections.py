"""Recipe sections for the benchmarks, also on a machine that has torch alone.

    python -m benchmarks.plain_sections        # write plain_sections.json anew

Where pydantic is installed they are the package's own. Elsewhere they have the same defaults, from
`plain_sections.json`, without checks; a test compares the two.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

FILE = Path(__file__).with_name("plain_sections.json")


class PlainSection(SimpleNamespace):
    """A section with values and nothing else."""

    def model_copy(self, *, update: dict[str, Any]) -> PlainSection:
        """A copy with other values."""
        return type(self)(**{**vars(self), **update})


class PlainSynthesis(PlainSection):
    """A section of a method with steps and a loss on the teacher's statistics."""

    @property
    def steps_per_batch(self) -> int:
        """See `SynthesisSection`."""
        return int(self.steps)

    @property
    def bn_weight(self) -> float:
        """See `SynthesisSection`."""
        return float(self.bn)

    @property
    def has_steps(self) -> bool:
        """See `SynthesisSection`."""
        return True

    @property
    def shares_generator(self) -> bool:
        """See `SynthesisSection`."""
        return bool(self.meta != "none")


def is_plain() -> bool:
    """Whether this machine lacks what the package's own sections need."""
    return any(importlib.util.find_spec(name) is None for name in ("pydantic", "omegaconf"))


def fast_section(**changes: Any) -> Any:
    """A section of the method `fast`, with the paper's settings apart from `changes`."""
    if is_plain():
        return PlainSynthesis(**{**_defaults("fast"), **changes})
    from fastdfkd.recipe import FastSynthesis

    return FastSynthesis(**changes)


def distillation_section(**changes: Any) -> Any:
    """A section of the distillation, with the paper's settings apart from `changes`."""
    if is_plain():
        return PlainSection(**{**_defaults("distillation"), **changes})
    from fastdfkd.recipe import DistillationSection

    return DistillationSection(**changes)


def _defaults(name: str) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found[name]


def defaults() -> dict[str, dict[str, Any]]:
    """The content of `plain_sections.json`, from the package's own sections."""
    from fastdfkd.recipe import DistillationSection, FastSynthesis

    sections = {"fast": FastSynthesis(), "distillation": DistillationSection()}
    return {name: section.model_dump(mode="json") for name, section in sections.items()}


if __name__ == "__main__":
    FILE.write_text(json.dumps(defaults(), indent=1) + "\n", encoding="utf-8")
