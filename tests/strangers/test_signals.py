"""Any signal at any moment: one line, the documented code, gone in seconds, nothing left."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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


@contextmanager
def handled(by: signal.Signals, how: signal.Handlers) -> Iterator[None]:
    """In the block a signal has this handler, which programs started there inherit."""
    before = signal.signal(by, how)
    try:
        yield
    finally:
        signal.signal(by, signal.SIG_DFL if before is None else before)


def start(
    words: list[str], folder: Path, ignored: signal.Signals | None = None
) -> subprocess.Popen[str]:
    """Start the program. Signals are not ignored, even if these tests run in a shell's background.

    Args:
        words: command line after the program.
        folder: current folder.
        ignored: a signal that is ignored, as SIGHUP under `nohup`.
    """
    with ExitStack() as handlers:
        for by in WORDS:
            how = signal.SIG_IGN if by == ignored else signal.SIG_DFL
            handlers.enter_context(handled(by, how))
        return subprocess.Popen(
            [PROGRAM, *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def wait_for_handlers(process: subprocess.Popen[str]) -> None:
    """Wait until the program handles SIGTERM, which a busy machine delays; imports then go on."""
    deadline = time.monotonic() + 60
    status, bit = Path(f"/proc/{process.pid}/status"), 1 << (signal.SIGTERM - 1)
    while sys.platform == "linux":
        caught = re.search(r"^SigCgt:\s*(\w+)", status.read_text(), re.MULTILINE)
        if caught and int(caught[1], 16) & bit:
            break
        assert process.poll() is None, "the program has ended"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)


def end(process: subprocess.Popen[str], by: signal.Signals, *, group: bool, times: int = 1) -> None:
    """Send it, and see what is promised. What does not end is killed."""
    below = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    for turn in range(times):
        if turn:
            time.sleep(1.2)
        if process.poll() is None:
            (os.killpg if group else os.kill)(process.pid, by)
    try:
        _, said = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        for each in (*below, psutil.Process(process.pid)):
            with suppress(psutil.Error):
                each.kill()
        raise
    assert time.monotonic() - began < IN_S
    assert process.returncode == exit_code(by), said
    assert said.splitlines()[-1:] == [f"fastdfkd: {WORDS[by]}"], said
    assert "Traceback" not in said
    assert psutil.wait_procs(below, timeout=1)[1] == []


@EVERY
def test_while_imports_go_on(by: signal.Signals, workplace: Path) -> None:
    process = start(RUN, workplace)
    wait_for_handlers(process)
    end(process, by, group=False)


def test_under_nohup_a_terminal_may_go(workplace: Path) -> None:
    """`nohup` has SIGHUP ignored, and it stays so."""
    process = start(RUN, workplace, ignored=signal.SIGHUP)
    wait_for_handlers(process)
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
