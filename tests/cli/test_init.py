"""The command `init`: a recipe for a user's own teacher."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastdfkd.cli import commands as cli
from fastdfkd.cli import init as command
from fastdfkd.models import build_network, save_weights
from fastdfkd.recipe import load_recipe
from fastdfkd.recipe.new_recipe import SCHEDULES

GIVEN = ["--teacher", "nets.py:build", "--weights", "my teacher.pt", "--classes", "10"]


def test_options_alone_write_a_recipe(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "nets.py").write_text("def build(): ...\n")
    words = ["init", "my-own.yaml", *GIVEN, "--shape", "1x28x28", "--normalisation", "half"]
    assert cli.run([*words, "--no-check"]) == 0
    output = capsys.readouterr().out
    assert "my-own.yaml is written" in output
    assert "fastdfkd distill my-own.yaml" in output
    recipe = load_recipe("my-own.yaml")
    assert recipe.name == "my-own"
    assert recipe.data.name == "none"
    assert recipe.input.shape == (1, 28, 28)
    assert recipe.input.classes == 10
    assert recipe.teacher.weights == "my teacher.pt"
    assert recipe.student.model == "nets.py:build"
    assert (recipe.student.width, recipe.student.start_from) == (0.5, "teacher")
    assert recipe.synthesis.rounds == SCHEDULES["short"]["synthesis"]["rounds"]
    assert recipe.updates == 3240
    assert "# batches: 7,680 images in all" in Path("my-own.yaml").read_text()
    assert "3,240 updates in all" in Path("my-own.yaml").read_text()


def test_the_recipe_is_checked_with_the_real_teacher(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights(workplace / "teacher.safetensors", build_network("resnet8-half", 4, 3))
    words = ["--teacher", "resnet8-half", "--weights", "teacher.safetensors", "--classes", "4"]
    student = ["--student", "resnet8-half", "--shape", "3,8,8"]
    assert cli.run(["init", *words, *student]) == 0
    output = capsys.readouterr().out
    assert "tensors matched" in output
    assert "4 logits an image" in output


def test_a_student_may_be_named_and_of_a_program_it_is(workplace: Path) -> None:
    rest = ["--classes", "10", "--no-check"]
    assert cli.run(["init", "a.yaml", *GIVEN, "--student", "resnet8", "--no-check"]) == 0
    assert cli.run(["init", "b.yaml", "--teacher", "torchscript:t.pt", *rest]) == 0
    students = [load_recipe(name).student for name in ("a.yaml", "b.yaml")]
    assert [student.model for student in students] == ["resnet8", "wrn-16-1"]
    assert all((student.width, student.start_from) == (1.0, None) for student in students)


def test_a_terminal_is_asked_for_what_no_option_gives(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command.sys, "stdin", Terminal())  # type: ignore[attr-defined]
    asked: list[str] = []

    def prompt(text: str, default: str | None, show_default: bool) -> str:
        asked.append(text.split(":")[0])
        return {"Teacher": "a:b", "Classes": "names.txt"}.get(asked[-1], default or "")

    monkeypatch.setattr(command.typer, "prompt", prompt)
    Path("names.txt").write_text("cat\ndog\n")
    assert cli.run(["init", "--no-check", "--schedule", "paper"]) == 0
    assert asked[0] == "Teacher"
    assert len(asked) == len(command.QUESTIONS) - 1
    recipe = load_recipe("mine.yaml")
    assert recipe.input.classes == ("cat", "dog")
    assert recipe.input.normalisation == "imagenet"
    assert recipe.teacher.weights is None


class Terminal:
    def isatty(self) -> bool:
        return True


def test_a_source_that_describes_its_images_is_not_asked_about_them(workplace: Path) -> None:
    assert cli.run(["init", "--teacher", "hf:folder", "--no-check"]) == 0
    text = Path("mine.yaml").read_text()
    assert "input:" not in text
    assert load_recipe("mine.yaml").teacher.model == "hf:folder"


def test_images_of_ones_own(workplace: Path) -> None:
    words = ["init", *GIVEN, "--images", "photos.zip", "--no-check"]
    assert cli.run(words) == 0
    data = load_recipe("mine.yaml").data
    assert (data.name, data.root) == ("folder", "photos.zip")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--teacher is missing, and there is no terminal to ask on"),
        (["--teacher", "a:b"], "--classes is missing"),
        ([*GIVEN, "--shape", "5,3"], "--shape: expected channels,height,width"),
        ([*GIVEN, "--shape", "3,4,4"], "input.shape: expected a height and width of at least 8"),
        ([*GIVEN, "--normalisation", "imagnet"], "did you mean imagenet?"),
        ([*GIVEN, "--schedule", "long"], "--schedule: expected short or paper, got long"),
        (["there.yaml", *GIVEN], "there.yaml exists: name another file, or give --overwrite"),
        (["no/such/folder.yaml", *GIVEN], "no/such"),
    ],
)
def test_bad_answers_write_nothing(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    Path("there.yaml").write_text("mine")
    assert cli.run(["init", *words, "--no-check"]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in workplace.iterdir()] == ["there.yaml"]
    assert Path("there.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("file", "name"),
    [("no", "no"), ("1e5", "1e5"), ("a: b", "a-b"), ("two words", "two-words"), ("ü", "mine")],
)
def test_any_file_gives_a_valid_name(workplace: Path, file: str, name: str) -> None:
    assert cli.run(["init", f"{file}.yaml", *GIVEN, "--no-check"]) == 0
    assert load_recipe(f"{file}.yaml").name == name
