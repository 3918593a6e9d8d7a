"""Every command of the tutorials, in order, in an empty folder; and the whole notebook."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

TUTORIALS = sorted((Path(__file__).parents[2] / "docs/tutorials").glob("*.md"))
NOTEBOOK = TUTORIALS[0].with_name("notebook.ipynb")
NOTEBOOK_S = 180.0
PORTS = ("6379", "8265", "52365", "5001")
"""Ports in commands, for which the tests take free ones."""
LEAVES = {
    "cluster": ["runs/here/result.json", "runs/job/result.json"],
    "own-teacher": ["mine.yaml", "runs/mine/student.safetensors", "runs/mine/report.html"],
    "quickstart": ["runs/quickstart/fast-5/report.html", "runs/k2/result.json"],
    "ship": ["runs/digits/export/student.onnx", "runs/digits/profile.json"],
    "sweep": ["runs/sweep/best.yaml", "runs/best/result.json", "runs/compare/report.html"],
}
"""Files that a tutorial leaves."""


def blocks(page: Path) -> tuple[str, dict[str, str]]:
    """The shell commands of a tutorial in order, and the files that it has its reader save."""
    script, files = ["set -euo pipefail"], {}
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type == "fence" and token.info == "sh":
            script.append(token.content)
        elif token.type == "fence":
            title = re.fullmatch(r'\w+ title="([\w.]+)"', token.info)
            assert title, f"{page.name}: a block is neither a command nor a file: {token.info}"
            files[title[1]] = token.content
    return "\n".join(script), files


def test_every_tutorial_says_what_it_leaves() -> None:
    assert sorted(LEAVES) == [page.stem for page in TUTORIALS]
    for page in TUTORIALS:
        script, files = blocks(page)
        assert script.count("fastdfkd ") > 2
        assert all(name in page.read_text().replace(f'"{name}"', "", 1) for name in files)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def environment(home: Path) -> dict[str, str]:
    """As a reader has it: the environment's programs on the path, an empty home, no settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FASTDFKD_", "MLFLOW_", "RAY_", "PYTEST_"))
    }
    programs = Path(sys.executable).parent
    return {
        **kept,
        "PATH": f"{programs}{os.pathsep}{kept['PATH']}",
        "HOME": str(home),
        "RAY_raylet_start_wait_time_s": "240",  # for a busy machine
    }


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_the_commands_of_a_tutorial_run(page: Path, tmp_path: Path) -> None:
    script, files = blocks(page)
    for port in PORTS:
        script = script.replace(port, free_port())
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "home").mkdir()
    with (tmp_path / "log").open("w") as log:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment(tmp_path / "home"),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait()
        finally:
            with_its_children(shell.pid)
    assert code == 0, (tmp_path / "log").read_text()[-4000:]
    missing = [name for name in LEAVES[page.stem] if not (tmp_path / name).is_file()]
    assert missing == []


def with_its_children(group: int) -> None:
    """End what a failed tutorial left in the background."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(shutil.copy(NOTEBOOK, tmp_path), as_version=4)
    monkeypatch.setenv("FASTDFKD_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    NotebookClient(notebook, timeout=600).execute()
    seconds = time.monotonic() - started
    texts = [
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    ]
    assert any("accuracy" in text for text in texts)
    assert any(
        "image/png" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", [])
    )
    assert seconds < NOTEBOOK_S


def test_no_output_of_the_notebook_is_committed() -> None:
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
