"""Fixtures for tests of several packages: a tiny recipe, a made-up result, a fake pipeline."""

from __future__ import annotations

import os

# Set before torch is imported: with the tiny tensors of the tests, several threads are slower than
# one, many times slower on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fastdfkd.recipe import Recipe, load_recipe
from fastdfkd.runs.result import RunResult
from tests import browser as headless
from tests import remembered_trials, shared_cluster

# A shell's background job has Ctrl-C ignored, and so would have all that these tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # the tests that are left out by their marks are gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    shared_cluster.put_first(items)


@pytest.hookimpl(trylast=True)  # the fixtures of the test's file have ended
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    shared_cluster.stop_before(nextitem)


def _tiny_recipe(**changes: Any) -> Recipe:
    """Two rounds of four images; the teacher trains for one epoch."""
    values: dict[str, Any] = {
        "name": "tiny",
        "data": {"name": "digits"},
        "teacher": {"model": "resnet14", "epochs": 1, "crop_padding": 1, "flip": False},
        "student": {"model": "resnet8-half"},
        "synthesis": {"rounds": 2, "warmup_rounds": 0, "batch_size": 4},
        "distillation": {"updates_per_round": 5, "batch_size": 4},
    }
    return Recipe.model_validate({**values, **changes})


def _result(**changes: Any) -> RunResult:
    """Made-up figures of a run."""
    values: dict[str, Any] = {
        "recipe": "tiny",
        "recipe_digest": "0" * 64,
        "seed": 0,
        "accuracy": 0.97,
        "teacher_accuracy": 0.998,
        "agreement": 0.968,
        "images": 100,
        "updates": 50,
        "synthesis_seconds": 2.0,
        "storage_seconds": 0.5,
        "distillation_seconds": 5.0,
        "evaluation_seconds": 1.0,
        "synthesizer_idle_seconds": 0.1,
        "trainer_idle_seconds": 0.2,
        "end_to_end_seconds": 8.0,
        "wall_seconds": 12.0,
        "precision": "float32",
        "max_staleness": 1,
        "versions": {"python": "3.11"},
        "hardware": {"cores": 2},
        "commit": "unknown",
    }
    return RunResult.model_validate({**values, **changes})


class FakePlatform:
    """Replaces `platform.cluster` and `platform.pipeline`, and checks the arguments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[str | None] = []
        self.connected = 0
        self.error: BaseException | None = None
        self.too_small: Exception | None = None
        import fastdfkd.platform as platform

        for name, content in (
            ("cluster", {"connect": self.connect}),
            ("placement", {"fitted_here": self.fitted, "check_places": self.check_places}),
            ("pipeline", {"run": self.run}),
        ):
            module = ModuleType(f"fastdfkd.platform.{name}")
            vars(module).update(content)
            monkeypatch.setitem(sys.modules, module.__name__, module)
            monkeypatch.setattr(platform, name, module, raising=False)

    @contextmanager
    def connect(
        self, address: str | None, meanwhile: Callable[[], None] | None = None
    ) -> Iterator[None]:
        assert meanwhile is not None, "imports are made while Ray starts"
        self.addresses.append(address)
        self.connected += 1
        try:
            yield
        finally:
            self.connected -= 1

    def fitted(self, recipe: Recipe) -> Recipe:
        """The recipe with the resources of a machine with three cores."""
        assert self.connected, "the resources are known only when connected to a cluster"
        return load_recipe(recipe, {"platform.cpus_per_synthesizer": 2.0})

    def check_places(self, recipes: Iterable[Recipe]) -> None:
        """Raises `too_small` if it is set."""
        assert self.connected, "the resources are known only when connected to a cluster"
        assert list(recipes)
        if self.too_small is not None:
            raise self.too_small

    def run(
        self,
        recipe: Recipe,
        teacher: Any,
        directory: Path,
        recorder: Any,
        *,
        checkpoint: Any = None,
        stop: Any = None,
        images_only: bool = False,
        notes: Sequence[str] = (),
    ) -> RunResult:
        assert self.connected, "the pipeline needs a cluster"
        assert directory.is_absolute()
        assert directory.is_dir()
        assert (directory / "recipe.yaml").is_file()
        assert (directory / "teacher.json").is_file()
        assert not (directory / "result.json").exists()
        seconds = 2.0 * recipe.synthesis.steps / 5
        recorder.log({"updates": 0, "rounds": 1, "images": 4, "synthesis_seconds": seconds / 2})
        if self.error is not None:
            raise self.error
        recorder.log({"updates": 10, "accuracy": 0.9, "loss": 0.5, "synthesis_seconds": seconds})
        self._write(recipe, directory)
        return _result(
            recipe=recipe.name,
            recipe_digest=recipe.digest(),
            accuracy=0.9,
            teacher_accuracy=teacher.accuracy,
            teacher_digest=teacher.digest,
            images=recipe.synthesis.rounds * recipe.synthesis.batch_size,
            updates=recipe.updates,
            synthesis_seconds=seconds,
        )

    def _write(self, recipe: Recipe, directory: Path) -> None:
        from fastdfkd.models import build_network, save_weights
        from fastdfkd.report.samples import save_grid
        from fastdfkd.runs.details import RunDetails

        save_weights(directory / "student.safetensors", build_network(recipe.student.model, 10, 1))
        save_grid(np.zeros((4, 1, 16, 16), np.uint8), directory / "samples.png")
        RunDetails(class_names=[str(digit) for digit in range(10)], shape=(1, 16, 16)).save(
            directory
        )


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real MLflow store in SQLite. Its creation takes seconds, so the session shares one."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def workplace(
    tmp_path: Path, tracking_uri: str, teacher_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """An empty current folder, with the session's teacher cache and MLflow store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    monkeypatch.setenv("FASTDFKD_HOME", str(teacher_cache))
    yield tmp_path
    assert Path.cwd() == tmp_path, "the code under test must not change the current folder"
    assert os.environ["MLFLOW_TRACKING_URI"] == tracking_uri


@pytest.fixture(scope="session")
def tiny_recipe() -> Callable[..., Recipe]:
    """A function that makes a tiny recipe; keywords replace whole sections."""
    return _tiny_recipe


@pytest.fixture(scope="session")
def make_result() -> Callable[..., RunResult]:
    """A function that makes a result; keywords replace figures."""
    return _result


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> FakePlatform:
    """A fake pipeline without Ray."""
    return FakePlatform(monkeypatch)


@pytest.fixture(scope="session")
def teacher_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session's own cache folder, so that each teacher is trained once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def ray_cluster() -> None:
    """A Ray cluster on this machine, shared by all tests that ask for one."""
    shared_cluster.start()


@pytest.fixture(scope="session")
def _trials() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(autouse=True)
def _remembered_trials(_trials: pytest.MonkeyPatch) -> None:
    remembered_trials.remember_in(_trials)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[headless.Browser]:
    program = headless.find()
    if program is None:
        pytest.skip("needs a browser on PATH: apt-get install chromium")
    with headless.Browser(program, tmp_path / "browser") as started:
        yield started
