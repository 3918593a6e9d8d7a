"""Wheel and sdist: what they hold, and that they work where nothing else is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fastdfkd"
RECIPES = ROOT / "recipes"
SETTINGS = ("deep-inversion", "fast-10", "fast-5", "fast-2")


@pytest.fixture(scope="module")
def uv() -> str:
    """The one of this machine, else the one that `make setup` installs."""
    found = shutil.which("uv", path=os.pathsep.join([os.environ["PATH"], str(ROOT / ".uv/bin")]))
    if found is None:
        pytest.skip("needs uv: make setup")
    return found


@pytest.fixture(scope="module")
def wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(uv, "build", "--wheel", "--python", sys.executable, "--out-dir", str(folder), at=ROOT)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def sdist(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(uv, "build", "--sdist", "--python", sys.executable, "--out-dir", str(folder), at=ROOT)
    (file,) = folder.glob("*.tar.gz")
    return file


def run(*words: str, at: Path, **variables: str) -> str:
    """Standard output of a command in a folder, without this test run's environment."""
    ours = ("PYTHON", "VIRTUAL_ENV", "RAY_", "MLFLOW_", "FASTDFKD_", "COLUMNS")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    done = subprocess.run(
        words, cwd=at, env=environment | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_package_and_recipe_and_nothing_else(wheel: Path) -> None:
    expected = {
        f"fastdfkd/{file.relative_to(PACKAGE).as_posix()}"
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    recipes = [
        file
        for kind in ("sample", "paper", "sweeps")
        for file in (RECIPES / kind).rglob("*")
        if file.is_file()
    ]
    assert {file.suffix for file in recipes} == {".yaml"}
    expected |= {f"fastdfkd/recipes/{file.relative_to(RECIPES).as_posix()}" for file in recipes}
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        (entry_points,) = (name for name in names if name.endswith("/entry_points.txt"))
        commands = content.read(entry_points).decode()
    about = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert set(names) - about == expected
    assert len(names) == len(set(names))
    assert {name.split("/", 1)[1] for name in about} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }
    assert "fastdfkd = fastdfkd.__main__:main" in commands.splitlines()


def test_the_sdist_holds_what_it_takes_to_build_a_wheel(sdist: Path, wheel: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"} <= names
    with zipfile.ZipFile(wheel) as content:
        modules = [name for name in content.namelist() if name.endswith(".py")]
    assert set(modules) <= names
    generated = (".venv", "runs/", ".git/", "__pycache__", "dist/")
    assert [name for name in names if name.startswith(generated) or "__pycache__" in name] == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_runs_the_quickstart_in_an_empty_environment(
    kind: str,
    uv: str,
    wheel: Path,
    sdist: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    package = {"wheel": wheel, "sdist": sdist}[kind]
    environment = tmp_path_factory.mktemp("environment") / "venv"
    python, program = environment / "bin/python", environment / "bin/fastdfkd"
    pins = str(ROOT / "constraints.txt")
    run(uv, "venv", "--no-python-downloads", "--python", sys.executable, str(environment), at=ROOT)
    run(uv, "pip", "install", "--python", str(python), "-c", pins, str(package), at=tmp_path)

    where = run(str(python), "-c", "import fastdfkd; print(fastdfkd.__file__)", at=tmp_path)
    assert Path(where.strip()).is_relative_to(environment)
    listed = (ROOT / "tests/golden/recipes.txt").read_text(encoding="utf-8")
    assert run(str(program), "recipes", at=tmp_path) == listed

    home = tmp_path_factory.mktemp("home")
    shown = run(str(program), "quickstart", at=tmp_path, FASTDFKD_HOME=str(home))
    folder = tmp_path / "runs/quickstart"
    assert str(folder) in shown
    table = (folder / "table.md").read_text(encoding="utf-8")
    for setting in SETTINGS:
        assert f"| {setting} |" in table
        assert (folder / setting / "result.json").is_file()
        assert (folder / setting / "student.safetensors").is_file()
    assert list(home.rglob("*.safetensors")), "the teacher was trained here"
