from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fastdfkd.cli import commands as cli
from fastdfkd.cli.invocation import print_json
from fastdfkd.recipe import Recipe

COMMANDS = (
    *("quickstart", "teacher", "check", "distill", "synthesize"),
    *("submit", "status", "evaluate", "recipes"),
    *("runs", "report", "clean", "init", "doctor", "export", "profile"),
)


def command(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a new process."""
    line = [sys.executable, "-c", "from fastdfkd.cli import main; main()", *words]
    return subprocess.run(line, capture_output=True, text=True, cwd=folder, check=False)


@pytest.fixture
def recipe_file(workplace: Path, tiny_recipe: Callable[..., Recipe]) -> str:
    (workplace / "tiny.yaml").write_text(tiny_recipe(description="A tiny one").to_yaml())
    return "tiny.yaml"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_shows_an_example(name: str) -> None:
    result = CliRunner().invoke(cli.app, [name, "--help"])
    assert result.exit_code == 0
    assert f"Example: fastdfkd {name}" in result.output


def test_the_root_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 0
    output = capsys.readouterr().out
    assert all(f"  {name} " in output for name in COMMANDS)
    assert "Example: fastdfkd quickstart" in output


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    code = (
        "import sys\nfrom fastdfkd.cli import commands as cli\ncli.run(['distill', '--help'])\n"
        "heavy = {'torch', 'ray', 'mlflow', 'pandas', 'omegaconf'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert time.perf_counter() - started < 5, "0.2 s on an idle machine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["distill", "no-such-recipe"], "no recipe no-such-recipe"),
        (["distill", "digits-fast5", "synthesis.stepz=2"], "did you mean steps?"),
        (["distill", "digits-fast5", "synthesis.steps=0"], "expected a number at least 1, got 0"),
        (["distill", "digits-fast5", "steps"], "expected key=value"),
        (["distill", "digits-fast5", "--aut", "x"], "--out"),
        (["distill"], "give a RECIPE, or --resume DIR"),
        (["distill", "digits-fast5", "--resume", "x"], "not both: the run in DIR has its own"),
        (["teacher"], "Missing argument 'RECIPE'"),
        (["destill", "digits-fast5"], "No such command 'destill'"),
        (["evaluate", "no-such-folder"], "no-such-folder holds no run"),
        (["teacher", "digits-fast5", "teacher.weights=absent.pt"], "no such file"),
        (["ui", "--port", "99999"], "'--port'"),
        (["ui", "--port", "0"], "'--port'"),
        (["ui", "--port", "http"], "'--port'"),
        (["check", "digits-fast5", "--images", "0"], "'--images'"),
        (["sweep", "digits-fast5", "steps", "--trials", "0"], "'--trials'"),
        (["sweep", "digits-fast5", "steps", "--seeds", "9" * 30], "'--seeds'"),
        (["sweep", "--resume", "x", "--trials", "10", "--out", "y"], "remove --trials, --out"),
        (["compare", "digits-fast5", "--seeds", "-1"], "'--seeds'"),
        (["compare", "--experiment", "x", "--seeds", "3"], "its own runs: remove --seeds"),
        (["submit", "digits-fast5", "--address", "http://127.0.0.1:99999"], "from 1 to 65535"),
        (["distill", "digits-fast5", "--address", "127.0.0.1:99999"], "expected HOST:PORT"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert cli.run(words) == 2
    out, err = capsys.readouterr()
    assert err.startswith("fastdfkd: ")
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert list(workplace.glob("runs/*")) == []


def test_bad_input_from_a_shell(tmp_path: Path) -> None:
    done = command("distill", "digits-fast5", "synthesis.steps=many", folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "synthesis.steps" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_distill_prints_its_figures_and_its_folder(
    workplace: Path, recipe_file: str, platform: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["distill", recipe_file, "synthesis.steps=2", "--out", "out", "seed=3"]
    assert cli.run([*words, "--address", "auto"]) == 0
    output = capsys.readouterr().out
    assert "accuracy   90.0%" in output
    assert str(workplace / "out") in output
    assert platform.addresses == ["auto"]
    assert "seed: 3" in (workplace / "out/recipe.yaml").read_text()
    assert cli.run(words) == 2
    assert "is not empty" in capsys.readouterr().err
    assert cli.run([*words, "--overwrite"]) == 0


def test_json_is_the_only_output_on_stdout(
    workplace: Path, recipe_file: str, platform: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["distill", recipe_file, "--json", "--out", "out"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output == json.loads((workplace / "out/result.json").read_text())


def test_figures_come_as_json_too(
    workplace: Path, recipe_file: str, platform: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*words: str) -> Any:
        assert cli.run([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert 0 <= printed("teacher", recipe_file, "--out", "teacher")["accuracy"] <= 1
    assert printed("distill", recipe_file, "--out", "out")["accuracy"] == 0.9
    evaluation = printed("evaluate", "out")
    assert evaluation["images"] == 500
    assert evaluation["figures"]["accuracy"] == evaluation["accuracy"]
    assert evaluation["teacher_figures"]["accuracy"] == evaluation["teacher_accuracy"]
    status = printed("status", "out")
    assert (status["state"], status["recipe"]) == ("finished", "tiny")
    assert cli.run(["status", "out", "--json", "--watch"]) == 2
    assert "remove --watch" in capsys.readouterr().err


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": (None, "text")})
    assert json.loads(capsys.readouterr().out) == {
        "a": None,
        "b": [None, 1.5],
        "c": [None, "text"],
    }


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"fastdfkd {version('fastdfkd')}\n"


def test_teacher_then_evaluate(
    workplace: Path, recipe_file: str, platform: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["teacher", recipe_file, "--out", "teacher"]) == 0
    assert f"weights    {workplace / 'teacher/teacher.safetensors'}" in capsys.readouterr().out
    assert cli.run(["distill", recipe_file, "--out", "out"]) == 0
    capsys.readouterr()
    assert cli.run(["evaluate", "out"]) == 0
    output = capsys.readouterr().out
    assert "of 500 held-out real images" in output
    assert "agreement" in output


def test_ctrl_c_is_one_line_and_130(
    workplace: Path, recipe_file: str, platform: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    platform.error = KeyboardInterrupt()
    assert cli.run(["distill", recipe_file]) == 130
    assert capsys.readouterr() == ("", "fastdfkd: interrupted\n")


def test_unexpected_errors_keep_their_traceback(
    workplace: Path, recipe_file: str, platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        cli.run(["distill", recipe_file])
    platform.error = ValueError("perhaps a bug")
    monkeypatch.setenv("FASTDFKD_DEBUG", "1")
    with pytest.raises(ValueError, match="perhaps a bug"):
        cli.run(["distill", recipe_file])


def test_a_run_that_diverged_is_one_line(
    workplace: Path, recipe_file: str, platform: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    platform.error = FloatingPointError("the student's training diverged")
    assert cli.run(["distill", recipe_file]) == 2
    assert capsys.readouterr().err == "fastdfkd: the student's training diverged\n"


@pytest.mark.parametrize(
    ("error", "says"),
    [(BrokenPipeError(32, "Broken pipe"), "[Errno 32] Broken pipe"), (OSError(), "OSError")],
)
def test_no_error_ends_a_command_silently(
    error: OSError,
    says: str,
    workplace: Path,
    recipe_file: str,
    platform: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only a reader of stdout that is gone does; a pipe may break elsewhere, too."""
    platform.error = error
    assert cli.run(["distill", recipe_file]) == 2
    assert capsys.readouterr().err == f"fastdfkd: {says}\n"


def test_an_error_from_an_actor_is_printed_without_rays_traceback(
    workplace: Path, recipe_file: str, platform: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class RemoteValueError(ValueError):  # Ray raises such a class for an actor's ValueError
        cause = ValueError("the teacher returned NaN")

    platform.error = RemoteValueError("ray::run() Traceback ...")
    assert cli.run(["distill", recipe_file]) == 2
    assert capsys.readouterr().err == "fastdfkd: the teacher returned NaN\n"


@pytest.mark.parametrize("words", [["-v", "recipes"], ["recipes", "-v"], ["recipes", "--verbose"]])
def test_verbose_works_before_and_after_the_command(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("fastdfkd")
    assert cli.run(["recipes"]) == 0
    assert logger.level == logging.WARNING
    assert cli.run(words) == 0
    assert logger.level == logging.INFO
    logger.setLevel(logging.WARNING)


def test_file_names_are_printed_in_any_locale(tmp_path: Path) -> None:
    """The C locale is ASCII: Python starts itself again in UTF-8 mode, for `python -m` too."""
    settings = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    folder = tmp_path / "größe"
    line = [sys.executable, "-m", "fastdfkd", "status", str(folder)]
    done = subprocess.run(line, capture_output=True, env=settings, check=False)
    assert done.returncode == 2
    assert f"fastdfkd: {folder} holds no run" in done.stderr.decode()
