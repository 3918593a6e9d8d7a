"""Installs the project into an environment, with the build of torch that suits the machine.

    python deploy/set_up.py UV PYTHON

`make setup` calls it. The default build of torch for Linux holds 3.4 GB of CUDA libraries. A
machine without a GPU takes a build for CPUs instead, if the package index has one, or if PyTorch's
own index answers. FASTDFKD_TORCH=cpu or cuda decides otherwise. Only the standard library is used:
nothing is installed yet.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "torchvision")
VARIABLE = "FASTDFKD_TORCH"
IMPATIENT = {"UV_HTTP_TIMEOUT": "10", "UV_HTTP_RETRIES": "0"}
"""PyTorch's index may be unreachable. That must not delay the set-up for long."""


def main(uv: str, python: str) -> int:
    """Install, say what was chosen and how much came; return uv's exit code."""
    chosen, why = torch_build(uv, python)
    print(f"set-up: {why}", flush=True)
    received, started = received_bytes(), time.monotonic()
    install = [uv, "pip", "install", "--python", python, "-c", "constraints.txt"]
    code = subprocess.run([*install, *chosen, "-e", ".[dev]"], cwd=ROOT, check=False).returncode
    if code == 0:
        print(f"set-up: {report(Path(python), received, started)}", flush=True)
    return code


def torch_build(uv: str, python: str) -> tuple[list[str], str]:
    """Arguments for `uv pip install` that choose the build of torch, and why."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "cpu", "cuda"):
        raise SystemExit(f"set-up: {VARIABLE}: expected cpu or cuda, got {wanted}")
    if platform.system() != "Linux":
        return [], "torch for this system has no CUDA libraries"
    if wanted == "cuda" or (not wanted and has_gpu()):
        return [], f"torch with CUDA ({f'{VARIABLE}=cuda' if wanted else 'there is a GPU'})"
    reason = f"{VARIABLE}=cpu" if wanted else "there is no GPU"
    pinned = pins()
    local = [f"{name}=={pinned[name]}+cpu" for name in PACKAGES]
    if offers(uv, python, local):
        return local, f"torch for CPUs, from the package index ({reason})"
    backend = ["--torch-backend", "cpu"]
    if offers(uv, python, [*backend, *(f"{name}=={pinned[name]}" for name in PACKAGES)]):
        return backend, f"torch for CPUs, from PyTorch's index ({reason})"
    return [], (
        f"torch with CUDA, 3.4 GB: {reason}, but neither the package index nor PyTorch's offers a "
        "build for CPUs here"
    )


def has_gpu() -> bool:
    """Whether nvidia-smi lists a GPU."""
    if shutil.which("nvidia-smi") is None:
        return False
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return listed.returncode == 0 and "GPU" in listed.stdout


def pins() -> dict[str, str]:
    """The pinned versions of torch and torchvision."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return {name: re.findall(rf"^{name}==([^\s+;]+)", text, re.M)[0] for name in PACKAGES}


def offers(uv: str, python: str, arguments: Sequence[str]) -> bool:
    """Whether uv finds the packages. Nothing is installed.

    `--reinstall` makes it look: otherwise an installed version would answer.
    """
    look = ["pip", "install", "--dry-run", "--reinstall", "--no-deps", "--quiet"]
    done = subprocess.run(
        [uv, *look, "--python", python, *arguments],
        env={**os.environ, **IMPATIENT},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def report(python: Path, received: int | None, started: float) -> str:
    """What the set-up took: seconds, megabytes from the network, megabytes on disk."""
    folder = python.parent.parent
    size = sum(
        os.lstat(os.path.join(at, name)).st_size
        for at, _, names in os.walk(folder)
        for name in names
    )
    now = received_bytes()
    came = (
        f"{(now - received) / 1e6:,.0f} MB came over the network"
        if received is not None and now is not None
        else "how much came over the network is unknown"
    )
    return f"{time.monotonic() - started:.0f} s, {came}; {folder.name}/ has {size / 1e6:,.0f} MB"


def received_bytes() -> int | None:
    """Bytes that this machine has received, other programs' included; None if unknown.

    Loopback counts: a package index may be reached through it.
    """
    try:
        lines = Path("/proc/net/dev").read_text(encoding="utf-8").splitlines()[2:]
    except OSError:
        return None
    return sum(int(line.partition(":")[2].split()[0]) for line in lines)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
