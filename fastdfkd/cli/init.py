"""The command `init`: asks about a teacher, writes a recipe for it and checks it."""

from __future__ import annotations

import re
import shlex
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastdfkd.text.safe_text import lines

if TYPE_CHECKING:
    from fastdfkd.recipe.new_recipe import Answers

_SHAPE = re.compile(r"\[?\s*(\d+)\s*[,x ]\s*(\d+)\s*[,x ]\s*(\d+)\s*\]?")
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")
"""What the name of a recipe must not contain."""
_OWN_STATEMENT = ("hf:",)
"""Sources of teachers that state what their images are."""
_PROGRAMS = ("torchscript:", "pt2:")
"""Sources of teachers of which there is no thinner copy."""


@dataclass(frozen=True)
class Question:
    """One question of `init`."""

    option: str
    """Its option on the command line."""
    text: str
    """What is asked."""
    default: str | None
    """Answer if the user presses Enter; None: there must be one."""


QUESTIONS = {
    "teacher": Question(
        "--teacher",
        "Teacher: file.py:function, package.module:function, torchvision:NAME, timm:NAME, "
        "hf:FOLDER, torchscript:FILE or pt2:FILE",
        None,
    ),
    "weights": Question("--weights", "File of its weights (empty: its source has them)", ""),
    "shape": Question("--shape", "Its images: channels, height, width", "3,32,32"),
    "classes": Question("--classes", "Classes: how many, or a file with their names", None),
    "normalisation": Question(
        "--normalisation",
        "Normalisation that it was trained with: imagenet, cifar10, cifar100, half (-1 to 1), "
        "none (0 to 1)",
        "imagenet",
    ),
    "student": Question(
        "--student",
        "Student: teacher (a copy of it with half of its channels), a name such as wrn-16-1, or "
        "as for the teacher",
        "teacher",
    ),
    "images": Question(
        "--images", "Folder or zip of test images in folders named by class (empty: none)", ""
    ),
    "schedule": Question(
        "--schedule", "Schedule: short (a first look) or paper (for a GPU)", "short"
    ),
}


def _option(name: str) -> Any:
    question = QUESTIONS[name]
    return typer.Option(question.option, help=f"{question.text}.", show_default=False)


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recipe to write.")] = Path(
        "mine.yaml"
    ),
    teacher: Annotated[str | None, _option("teacher")] = None,
    weights: Annotated[str | None, _option("weights")] = None,
    shape: Annotated[str | None, _option("shape")] = None,
    classes: Annotated[str | None, _option("classes")] = None,
    normalisation: Annotated[str | None, _option("normalisation")] = None,
    student: Annotated[str | None, _option("student")] = None,
    images: Annotated[str | None, _option("images")] = None,
    schedule: Annotated[str | None, _option("schedule")] = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Write the recipe and do not open the networks.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Write a recipe for your own teacher, and check it.

    Asks for what no option gives. Without a terminal nothing is asked: --teacher and --classes are
    then needed, and the rest has defaults.
    """
    from fastdfkd.recipe.new_recipe import recipe_text

    if file.exists() and not overwrite:
        raise ValueError(f"{file} exists: name another file, or give --overwrite")
    given = {
        "teacher": teacher,
        "weights": weights,
        "shape": shape,
        "classes": classes,
        "normalisation": normalisation,
        "student": student,
        "images": images,
        "schedule": schedule,
    }
    text = recipe_text(_answers(file.stem, given))
    _write_checked(text, file)
    typer.echo(lines(f"{file} is written"))
    if not no_check:
        from fastdfkd.api import check
        from fastdfkd.report.check_screen import show

        show(check(file))
    typer.echo(lines(f"\nStart it: fastdfkd distill {shlex.quote(str(file))}"))


def _answers(name: str, given: dict[str, str | None]) -> Answers:
    """What the options say, completed by questions, or by defaults where there is no terminal.

    Raises:
        ValueError: an answer that has no default is missing, or one is not readable.
    """
    from fastdfkd.recipe.new_recipe import SCHEDULES, Answers

    said = {key: value for key, value in given.items() if value is not None}
    for key, question in QUESTIONS.items():
        stated = said.get("teacher", "").startswith(_OWN_STATEMENT)
        if key not in said and stated and key in ("weights", "shape", "classes", "normalisation"):
            said[key] = ""
        elif key not in said:
            program = key == "student" and said["teacher"].startswith(_PROGRAMS)
            said[key] = _ask(replace(question, default="wrn-16-1") if program else question)
    if said["schedule"] not in SCHEDULES:
        raise ValueError(f"--schedule: expected {' or '.join(SCHEDULES)}, got {said['schedule']}")
    shape = said.pop("shape")
    match = _SHAPE.fullmatch(shape)
    if shape and match is None:
        raise ValueError(f"--shape: expected channels,height,width such as 3,32,32, got {shape}")
    sides = tuple(int(side) for side in match.groups()) if match else ()
    fitting = _NO_NAME.sub("-", name).strip("-._") or "mine"
    return Answers(name=fitting, shape=sides, **said)


def _ask(question: Question) -> str:
    if not sys.stdin.isatty():
        if question.default is None:
            raise ValueError(f"{question.option} is missing, and there is no terminal to ask on")
        return question.default
    shown = bool(question.default)
    answer: str = typer.prompt(question.text, default=question.default, show_default=shown)
    return answer.strip()


def _write_checked(text: str, file: Path) -> None:
    """Write the recipe if its values are allowed.

    Raises:
        RecipeError: a value is not allowed. Nothing is written.
        OSError: the folder is not writable.
    """
    from fastdfkd.recipe import RecipeError, load_recipe

    with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".yaml", encoding="utf-8") as new:
        new.write(text)
        new.flush()
        try:
            load_recipe(new.name)
        except RecipeError as error:
            raise RecipeError(str(error).replace(new.name, str(file))) from None
    file.write_text(text, encoding="utf-8")


def register(app: typer.Typer) -> None:
    """Add the command to the typer app."""
    app.command(
        epilog="Example: fastdfkd init mine.yaml --teacher nets.py:build --weights teacher.pt "
        "--classes 10"
    )(init)
