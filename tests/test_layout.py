"""The layout: what may not be shadowed, imported, called or committed."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "fastdfkd" / "core").rglob("*.py"))
PACKAGE = sorted((ROOT / "fastdfkd").rglob("*.py"))


def python(code: str) -> str:
    """Standard output of `python -c` in the repository root, which is then on `sys.path`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("first", ["", str(ROOT)], ids=["as -c has it", "as -m has it"])
def test_platform_is_the_standard_librarys(first: str) -> None:
    """A folder `platform` at the root would shadow it for torch and Ray."""
    found = python(
        f"import sys; sys.path[0] = {first!r}; import platform; print(platform.__file__)"
    )
    assert Path(found).parent.samefile(sysconfig.get_paths()["stdlib"])


def imported(file: Path) -> Iterator[str]:
    """Modules that a file imports anywhere, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


OUTSIDE = {"ray", "mlflow"}
BESIDE_OR_ABOVE = {
    path.name
    for path in (ROOT / "fastdfkd").iterdir()
    if path.is_dir() and path.name not in ("core", "recipe", "addresses", "text")
}


@pytest.mark.parametrize("file", CORE, ids=lambda file: file.stem)
def test_the_algorithm_knows_no_cluster(file: Path) -> None:
    for name in imported(file):
        parts = name.split(".")
        assert parts[0] not in OUTSIDE, f"{file} imports {name}"
        assert parts[0] != "fastdfkd" or not BESIDE_OR_ABOVE & set(parts[1:2]), (
            f"{file} imports {name}"
        )


def test_importing_the_algorithm_loads_no_cluster() -> None:
    modules = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in CORE
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*sorted({OUTSIDE!r} & set(sys.modules)))"
    )
    assert python(code) == ""


def test_bank_and_board_load_no_torch() -> None:
    """Two processes less that import it; the bank would wait for it in the middle of a run."""
    code = (
        "import sys\n"
        "from fastdfkd.platform import sample_bank, weight_board\n"
        "from fastdfkd.trainers import filed_images\n"
        "print('torch' in sys.modules)"
    )
    assert python(code) == "False"


def test_nothing_is_moved_to_cuda_by_name() -> None:
    """Devices are given; `x.cuda()` is how code stops running on the CPU."""
    calls = [
        f"{file}:{node.lineno}"
        for file in PACKAGE
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "cuda"
    ]
    assert calls == []


# Written so that this file does not hold what it looks for.
HOME = re.compile(r"(?<![\w.])/(?:home|Users)/\w" + "|" + r"(?<![\w.])/roo" + r"t/")
HOSTS = ("pypi." + "org", "python" + "hosted.org", "download.pytorch." + "org", "npmjs." + "org")


def test_no_file_to_commit_names_a_home_folder_or_a_registry() -> None:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    found = []
    for name in filter(None, listing.stdout.decode().split("\0")):
        file = ROOT / name
        content = file.read_bytes() if file.is_file() else b""
        if b"\0" in content:
            continue
        text = content.decode(errors="replace")
        found += [f"{name}: {match[0]}" for match in HOME.finditer(text)]
        found += [f"{name}: {host}" for host in HOSTS if host in text]
    assert found == []
