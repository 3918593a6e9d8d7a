"""Any signal at any moment: one line, the documented code, gone in seconds, nothing left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fastdfkd.signals import WORDS, exit_code

IN_S = 15.0
PROGRAM = str(Path(sys.executable).parent / "fastdfkd")
RUN = [
    "distill",
    "digits-fast5",
    "synthesis.steps=2",
    "synthesis.rounds=4000",
    "synthesis.warmup_rounds=2",
    "synthesis.batch_size=16",
    "distillation.updates_per_round=2",
    "platform.checkpoint_every=4",
    "teacher.epochs=1",
]
EVERY = pytest.mark.parametrize("by", WORDS, ids=lambda by: by.name)


def start(words: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PROGRAM, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str], by: signal.Signals, *, group: bool, times: int = 1) -> None:
    """Send it, and see what is promised."""
    below = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    for turn in range(times):
        if turn:
            time.sleep(1.2)
        if process.poll() is None:
            (os.killpg if group else os.kill)(process.pid, by)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < IN_S
    assert process.returncode == exit_code(by), said
    assert said.splitlines()[-1:] == [f"fastdfkd: {WORDS[by]}"], said
    assert "Traceback" not in said
    assert psutil.wait_procs(below, timeout=1)[1] == []


@EVERY
def test_while_imports_go_on(by: signal.Signals, workplace: Path) -> None:
    process = start(RUN, workplace)
    time.sleep(0.6)  # 0.1 s of an idle machine are the interpreter's own
    end(process, by, group=False)


def test_under_nohup_a_terminal_may_go(workplace: Path) -> None:
    """`nohup` has SIGHUP ignored, and it stays so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(RUN, workplace)
    finally:
        signal.signal(signal.SIGHUP, before)
    time.sleep(0.6)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    end(process, signal.SIGTERM, group=False)


LATE = "import time, fastdfkd.signals as s; s.START_S = 0.5; s.run(lambda: {work})"


@pytest.mark.parametrize(
    "work",
    ["[time.sleep(.01) for _ in iter(int, 1)]", "swallow()"],
    ids=["in order", "swallowed by a library"],
)
def test_what_swallows_the_exception_does_not_hold_it(work: str) -> None:
    code = (
        "import subprocess, time\n"
        "def swallow():\n"
        "    subprocess.Popen(['sleep', '1000'])\n"
        "    print('up', flush=True)\n"
        "    while True:\n"
        "        try: time.sleep(1)\n"
        "        except BaseException: print('noise')\n"
        f"{LATE.format(work=work if work == 'swallow()' else 'print(1, flush=True) or ' + work)}"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    end(process, signal.SIGTERM, group=False)


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(900)
@EVERY
def test_random_moments_of_a_run(by: signal.Signals, workplace: Path) -> None:
    """Start-up, Ray's start, mid-run and its end, to the process or to its group; then resumed."""
    draw, out = random.Random(by), workplace / "run"
    fresh = [*RUN, "--out", str(out), "--overwrite"]
    for _ in range(4):
        began = (out / "recipe.yaml").exists()
        process = start(["distill", "--resume", str(out)] if began else fresh, workplace)
        time.sleep(draw.uniform(0.5, 60))
        end(process, by, group=draw.random() < 0.5, times=draw.choice((1, 1, 2)))


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize(
    "words",
    [
        ["teacher", "digits-fast5", "teacher.epochs=500"],
        ["sweep", "digits-fast5", "steps-and-meta-lr", "--trials", "4"],
        ["compare", "digits-fast5", "digits-fast2"],
        ["quickstart"],
        ["ui", "--port", "5017"],
    ],
    ids=lambda words: words[0],
)
def test_every_command(words: list[str], workplace: Path) -> None:
    process = start(words, workplace)
    time.sleep(random.Random(words[0]).uniform(3, 40))
    end(process, signal.SIGTERM, group=True)
