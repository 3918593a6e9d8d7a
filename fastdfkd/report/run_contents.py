"""What the page of a run shows of the files in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastdfkd.recipe.repeating import command_with_file, command_with_overrides
from fastdfkd.report import profile_table
from fastdfkd.report.page import embedded, several_lines
from fastdfkd.report.sample_classes import Sample, samples_by_class
from fastdfkd.report.table import share, size
from fastdfkd.runs.details import RunDetails
from fastdfkd.runs.figures import main_figure, measured
from fastdfkd.runs.files import read_whole
from fastdfkd.runs.folder import EXPORTS, read_json
from fastdfkd.runs.metrics import read_rows
from fastdfkd.runs.profile import Profile
from fastdfkd.runs.status import Status
from fastdfkd.text.shown import reason, without_credentials

_MOST_TEXT = 2**20
_MOST_PICTURE = 64 * 2**20


@dataclass
class RunContents:
    """The files of a run's folder. What cannot be read is left out and named in `unreadable`."""

    folder: Path
    status: Status

    def __post_init__(self) -> None:
        self.unreadable: list[str] = []
        self.rows = self._read("metrics.csv", read_rows, [])
        self.result: dict[str, Any] = self._read("result.json", read_json, {})
        self.details: RunDetails | None = self._guarded(lambda: RunDetails.load(self.folder), None)
        self.samples: Mapping[str, Sequence[Sample]] = {}
        self.sheet = ""
        self._read_samples()
        self.profile = self._guarded(self._profile, None)
        self.recipe_text = self._read("recipe.yaml", _clean_text, "")
        self.exports = [
            (file.name, size(_bytes(file)))
            for file in sorted((self.folder / EXPORTS).glob("*"))
            if not file.name.startswith(".")
        ]

    def _read(self, name: str, read: Any, otherwise: Any) -> Any:
        path = self.folder / name
        return self._guarded(lambda: read(path), otherwise) if path.is_file() else otherwise

    def _guarded(self, read: Any, otherwise: Any) -> Any:
        try:
            return read()
        except (OSError, ValueError) as error:
            self.unreadable.append(reason(error))
            return otherwise

    def _read_samples(self) -> None:
        path = self.folder / "samples.png"
        if not path.is_file():
            return
        if self.details is not None:
            details = self.details
            self.samples = self._guarded(lambda: samples_by_class(path, details), {})
        if not self.samples:
            self.sheet = self._guarded(lambda: embedded(read_whole(path, _MOST_PICTURE)), "")

    def _profile(self) -> dict[str, Any] | None:
        profile = Profile.load(self.folder)
        if profile is None:
            return None
        heads, rows = profile_table.cells(profile)
        return {"heads": heads, "rows": rows, "notes": profile_table.notes(profile)}

    @property
    def teachers_main(self) -> float | None:
        """The teacher's value of the figure by which students are compared."""
        value = self.status.teacher.get(main_figure(measured(self.status.latest)))
        return value if isinstance(value, float) else None

    @property
    def class_ious(self) -> list[tuple[str, str, str]]:
        """Intersection over union of each class: its name, the student's, the teacher's."""
        student, teacher = (
            found if isinstance(found := facts.get("class_ious"), dict) else {}
            for facts in (self.result, self.status.teacher)
        )
        return [(name, _iou(student, name), _iou(teacher, name)) for name in student]

    @property
    def commands(self) -> list[str]:
        """Command lines that repeat the run; none if its recipe cannot be read."""
        recipe = self.status.recipe
        if recipe is None:
            return []
        command = "synthesize" if self.status.images_only else "distill"
        short = command_with_overrides(recipe, command)
        again = command_with_file(self.folder, command)
        return [without_credentials(line) for line in (short, again) if line is not None]


def _iou(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return share(value) if isinstance(value, float) else "-"


def _clean_text(path: Path) -> Any:
    text = read_whole(path, _MOST_TEXT).decode("utf-8", "replace")
    return several_lines(without_credentials(text))


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
