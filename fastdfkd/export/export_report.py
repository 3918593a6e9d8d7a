"""What `fastdfkd export` wrote, and how it compares with the student of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastdfkd.export.conformity import Conformity
from fastdfkd.report.table import share
from fastdfkd.tracking import RegisteredModel


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """An exported student."""

    path: Path
    """The file or folder."""
    format: str
    size_bytes: int
    input: Mapping[str, Any]
    """Layout, type, values and shape of what it reads, mean and std."""
    compared_on: str
    """What the images are on which it was compared with the network."""
    conformity: Conformity
    tolerance: float | None
    """Largest difference that was allowed, in units of the largest logit (or 1); None: any."""
    calibrated_on: str | None = None
    """Images on which an int8 program was calibrated; None: its numbers are float32."""
    registered: RegisteredModel | None = None
    """The version of a model that was registered in MLflow; None: it was not."""
    figure_names: Mapping[str, str] = field(default_factory=dict)
    """Names of the figures by key (`TaskKind.figures`)."""

    def facts(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "path": str(self.path),
            "format": self.format,
            "size_bytes": self.size_bytes,
            "input": dict(self.input),
            "compared_on": self.compared_on,
            "tolerance": self.tolerance,
            "calibrated_on": self.calibrated_on,
            "registered": self.registered
            and {"version": self.registered.version, "uri": self.registered.uri},
            **self.conformity.facts(),
        }

    def summary(self) -> str:
        """The report in lines."""
        found = self.conformity
        shape = " x ".join("any" if side is None else str(side) for side in self.input["shape"])
        allowed = ""
        if self.tolerance is not None:
            allowed = f" (allowed {self.tolerance * max(found.largest_logit, 1):.2g})"
        rows = {
            "file": str(self.path),
            "size": f"{self.size_bytes:,} bytes",
            "input": f"{self.input['dtype']}, {self.input['values']}, {shape}",
            "compared": f"on {found.images:,} {self.compared_on}",
            "difference": f"at most {found.largest_difference:.2g}{allowed}, logits reach "
            f"{found.largest_logit:.3g}",
            "top-1": f"{share(found.top1_agreement)} the same class as the student in torch",
        }
        for key, name in self.figure_names.items():
            if key in found.figures:
                before, after = found.figures[key], found.exported_figures[key]
                rows[name] = f"{share(after)} (student in torch {share(before)})"
        if self.calibrated_on is not None:
            rows["int8"] = f"calibrated on {self.calibrated_on}"
        if self.registered is not None:
            rows["registered"] = f"version {self.registered.version}, {self.registered.uri}"
        width = max(map(len, rows)) + 1
        return "\n".join(f"{key:<{width}}{value}" for key, value in rows.items())
