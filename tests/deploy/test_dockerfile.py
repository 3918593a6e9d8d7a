"""deploy/Dockerfile, instruction by instruction, and as `hadolint` sees it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY

FILE = DEPLOY / "Dockerfile"
KNOWN = {"ARG", "FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "VOLUME", "CMD", "SHELL"}


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Name and words of each instruction, continued lines joined."""
    lines = [line for line in FILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(name, rest) for name, rest in found]


def test_every_instruction_is_known(instructions: list[tuple[str, str]]) -> None:
    assert {name for name, _ in instructions} <= KNOWN
    assert instructions[0] == ("ARG", "BASE=python:3.11-slim-bookworm"), "no CUDA unless asked for"


def test_what_is_copied_is_there(instructions: list[tuple[str, str]]) -> None:
    copied = [rest.split() for name, rest in instructions if name == "COPY"]
    from_context = [words for words in copied if not words[0].startswith("--from")]
    assert from_context
    for *sources, _ in from_context:
        for source in sources:
            assert (DEPLOY.parent / source).exists(), source
    stages = re.findall(r"^FROM \S+ AS (\w+)", FILE.read_text(), re.MULTILINE)
    assert all(words[0].split("=")[1] in stages for words in copied if "--from" in words[0])


def test_the_wheel_is_installed_with_the_pins(instructions: list[tuple[str, str]]) -> None:
    installs = [rest for name, rest in instructions if name == "RUN" and "pip install" in rest]
    assert len(installs) == 1
    assert "-c constraints.txt /dist/*.whl" in installs[0]


def test_the_last_user_is_not_root(instructions: list[tuple[str, str]]) -> None:
    names = [name for name, _ in instructions]
    last = len(names) - 1 - names[::-1].index("USER")
    assert instructions[last][1] not in ("root", "0")
    assert "RUN" not in names[last:]


def test_the_home_folder_is_made_for_the_user(instructions: list[tuple[str, str]]) -> None:
    """Ray looks for its token below it, the launcher writes there, teachers are cached there."""
    made = next(rest for name, rest in instructions if name == "RUN" and "useradd" in rest)
    home = re.search(r"--home-dir (\S+)", made)
    assert home is not None
    assert "--create-home" in made
    environment = next(rest for name, rest in instructions if name == "ENV")
    assert f"HOME={home[1]}" in environment.split()


def test_a_login_shell_finds_the_command(instructions: list[tuple[str, str]]) -> None:
    """KubeRay starts `bash -lc`, and Debian's profile replaces PATH."""
    profile = next(rest for name, rest in instructions if "/etc/profile.d/" in rest)
    line = re.search(r'printf "(.*?)\\n"', profile)
    assert line is not None
    done = subprocess.run(
        ["/bin/sh", "-c", line[1].replace("\\$", "$") + "; echo $PATH"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin"},
    )
    assert done.stdout == "/opt/fastdfkd/bin:/usr/bin\n"


def hadolint(file: Path) -> str:
    """What it finds, a line each."""
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, str(file)], capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.stdout


def test_hadolint_finds_nothing() -> None:
    assert hadolint(FILE) == ""


def test_hadolint_would_find_a_slip(tmp_path: Path) -> None:
    changed = tmp_path / "Dockerfile"
    changed.write_text(FILE.read_text().replace("USER 1000", "USER root"))
    assert "DL3002" in hadolint(changed)
