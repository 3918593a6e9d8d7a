"""Damaged copies of a run's folder, and commands on them, in this process."""

from __future__ import annotations

import contextlib
import io
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fastdfkd.cli import commands as cli
from fastdfkd.recipe import Recipe
from fastdfkd.runs.result import RunResult
from fastdfkd.tracking.run import TrackedRun

MOST_SECONDS = 20
MOST_SHOWN = 25_000


def snapshot(folder: Path) -> dict[str, Any]:
    """What lies in a folder, by name; links and pipes by what they are."""
    return {str(path.relative_to(folder)): _content(path) for path in folder.rglob("*")}


def _content(path: Path) -> Any:
    if path.is_symlink():
        return "link", str(path.readlink())
    return path.read_bytes() if path.is_file() else path.lstat().st_mode


@dataclass(frozen=True)
class Place:
    """A folder with a copy of the run, and one beside it that nobody may touch."""

    run: Path
    outside: Path

    @classmethod
    def make(cls, at: Path, original: Path) -> Place:
        shutil.rmtree(at, ignore_errors=True)
        shutil.copytree(original, at / "run", symlinks=True)
        place = cls(at / "run", at / "outside")
        place._make_outside()
        return place

    def mend(self, name: str, original: Path) -> None:
        """Replace one file of the run, whatever it has become, and the folder beside the run."""
        file = self.run / name
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
        shutil.copy2(original / name, file)
        shutil.rmtree(self.outside)
        self._make_outside()

    def _make_outside(self) -> None:
        self.outside.mkdir()
        (self.outside / "kept.txt").write_text("kept")


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str
    trouble: str = ""
    """What it raised, where it did."""


def ask(words: Sequence[str]) -> Answer:
    """Run a command here; what it raises is kept, and so is that it did not end."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _at_most(MOST_SECONDS):
        try:
            code, trouble = cli.run(words), ""
        except BaseException as error:
            code, trouble = -1, f"{type(error).__name__}: {error}"[:300]
    return Answer(code, out.getvalue(), err.getvalue(), trouble)


@contextlib.contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def faults(answer: Answer, named: str) -> list[str]:
    """What is wrong with an answer to a damage of the file `named`."""
    found = [answer.trouble] if answer.trouble else []
    if answer.code not in (0, 2):
        found.append(f"exit code {answer.code}")
    if "Traceback" in answer.err:
        found.append("a traceback")
    if answer.code == 2 and (answer.err.count("fastdfkd: ") != 1 or named not in answer.err):
        found.append(f"no message that names {named}: {answer.err[:300]!r}")
    if len(answer.err) > MOST_SHOWN or len(answer.out) > MOST_SHOWN:
        found.append(f"{len(answer.err)} + {len(answer.out)} characters shown")
    if answer.code == 0 and answer.err:
        found.append(f"success, but {answer.err[:200]!r}")
    return found


class Untracked:
    """An MLflow run that keeps nothing and takes no time."""

    run_id, uri = "0" * 32, "sqlite:///nowhere"

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: []


class QuickPlatform:
    """The platform without Ray and MLflow: a resumed run loads its checkpoint and makes no step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, result: RunResult) -> None:
        import ray

        from fastdfkd.platform import cluster, pipeline, placement

        self.result = result
        self.updates: int | None = None
        """That the last run began with."""
        monkeypatch.setattr(ray, "put", lambda value: value)
        monkeypatch.setattr(cluster, "connect", lambda *_, **__: contextlib.nullcontext())
        monkeypatch.setattr(placement, "fitted_here", lambda recipe: recipe)
        monkeypatch.setattr(placement, "check_places", lambda recipes: None)
        monkeypatch.setattr(pipeline, "run", self.run)
        monkeypatch.setattr(TrackedRun, "begin", lambda *_, **__: Untracked())

    def run(
        self,
        recipe: Recipe,
        teacher: Any,
        directory: Path,
        recorder: Any,
        *,
        checkpoint: Any = None,
        **_: Any,
    ) -> RunResult:
        from fastdfkd.experiment import Experiment
        from fastdfkd.platform.resume_state import ResumeState
        from fastdfkd.trainers.weights import to_tensors

        experiment = Experiment.of(recipe, teacher.model)
        point = ResumeState.of(experiment, checkpoint)
        self.updates = point.updates
        if checkpoint is not None:
            state = to_tensors(point.board)
            experiment.distiller().load_state_dict(state["trainer"]["distiller"])
            for index, left in state["synthesizers"].items():
                experiment.synthesizer(index=index).load_state_dict(left)
            point.driver_history(recipe)
        return self.result
