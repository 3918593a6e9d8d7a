"""End a command on Ctrl-C, SIGTERM or SIGHUP: one line, its exit code, no processes left.

    first signal               -> stderr is silenced for all other code, the main thread unwinds
    a later signal             -> child processes are killed, the process exits
    a time after the first     -> likewise: after `START_S`, or `BOUND_S` while a run is open

A thread reads the signals from Python's wake-up descriptor. So they count even if the main thread
is inside a library or a library replaced the handlers. Exit codes are those of shells: 130, 143 and
129. This module imports nothing slow, so that the handlers are installed first.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time

TYPE_CHECKING = False  # importing `typing` takes longer than this whole module
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import NoReturn

WORDS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hung up",
}
"""The message printed for each signal, after `fastdfkd: `."""

START_S, BOUND_S = 2.0, 11.0
"""Seconds that a command has to end, before and after `announce_open_run`; then it exits."""

_REPEAT_S = 1.0
"""Seconds within which repeated signals count once: some parent processes pass on a signal that the
terminal already sent to the whole group."""

_KILL_WAIT_S = 2.0
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>
_SHOW_CURSOR = b"\x1b[?25h\n"


def exit_code(signum: int) -> int:
    """Exit code of a command that a signal ended, as of shells."""
    return 128 + signum


class Signals:
    """Signal handling of a command's process. Create one, in the main thread."""

    def __init__(self) -> None:
        self.first: int | None = None
        """The signal that ends the command; None before it."""
        self._finished = self._unwinding = False
        self._exiting = threading.Lock()
        self._stderr = _duplicate(2)

    def install(self) -> None:
        """Install the handlers and start the watching thread."""
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=_reset_in_child)
        for signum in WORDS:
            if signal.getsignal(signum) is not signal.SIG_IGN:  # ignored, as under nohup
                signal.signal(signum, self.handle)
        if sys.platform == "linux":
            _adopt_orphans()
        threading.Thread(target=self._watch, args=(read_end,), name="signals", daemon=True).start()

    def handle(self, signum: int, _frame: FrameType | None) -> None:
        """Unwind the main thread on the first signal; the watching thread handles later ones."""
        if self._finished and not self._exiting.locked():
            self._record(signum)
            self.exit()
        if self.first not in (None, signum) or self._unwinding:
            return
        self._unwinding = True
        self._record(signum)
        if signum == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(exit_code(signum))

    def finish(self) -> None:
        """Mark the work as done: exit now if a signal came, and at once on any later signal."""
        self._finished = True
        if self.first is not None:
            _flush()
            self.exit()

    def exit(self) -> NoReturn:
        """Kill all descendants and exit, with the message and exit code of the first signal."""
        with self._exiting:
            assert self.first is not None
            _kill_descendants()
            self._print(f"fastdfkd: {WORDS[signal.Signals(self.first)]}\n")
            os._exit(exit_code(self.first))

    def _record(self, signum: int) -> None:
        if self.first is None:
            self.first = signum
            self._silence()

    def _watch(self, read_end: int) -> None:
        """Wait for the first signal; exit on a later one or when the time is over."""
        while True:
            signum = os.read(read_end, 1)[0]
            if signum in WORDS and not (signum == signal.SIGINT and interactive.is_set()):
                break
        self._record(signum)
        start = time.monotonic()
        limit = BOUND_S if _to_close.is_set() else START_S
        while (remaining := start + limit - time.monotonic()) > 0:
            if select.select([read_end], [], [], remaining)[0]:
                later = os.read(read_end, 1)[0]  # torch's DataLoader has a handler for SIGCHLD
                if later in WORDS and time.monotonic() - start > _REPEAT_S:
                    break
        self.exit()

    def _silence(self) -> None:
        """Discard all further stderr and logging: errors of interrupted libraries only distract."""
        if self._stderr is None or os.environ.get("FASTDFKD_DEBUG"):
            return
        import logging

        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        logging.disable(logging.CRITICAL)

    def _print(self, text: str) -> None:
        """Write to the original stderr."""
        if self._stderr is None:
            return
        prefix = _SHOW_CURSOR if os.isatty(self._stderr) else b""
        try:
            os.write(self._stderr, prefix + text.encode())
        except OSError:  # the reading end is closed
            return


_to_close = threading.Event()


def announce_open_run() -> None:
    """Declare that a run is open: from now on a command has `BOUND_S` seconds to end."""
    _to_close.set()


interactive = threading.Event()
"""Set while Ctrl-C does not end the command but asks the user what to do."""


class RaisingInterrupts:
    """Inside the block each Ctrl-C raises KeyboardInterrupt and does not end the command."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, signal.default_int_handler)
        interactive.set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._before)
        interactive.clear()


def run(work: Callable[[], int]) -> NoReturn:
    """Run `work`, and exit with the code that it returns or that of a signal."""
    handlers, code = Signals(), 0
    try:
        handlers.install()
        code = work()
    except BaseException:
        if handlers.first is None:
            raise
    handlers.finish()
    sys.exit(code)


def _duplicate(descriptor: int) -> int | None:
    try:
        return os.dup(descriptor)
    except OSError:  # the parent process closed it
        return None


def _reset_in_child() -> None:
    """In a forked process: detach it from this process's wake-up descriptor."""
    signal.set_wakeup_fd(-1)


def _adopt_orphans() -> None:
    """Make orphaned descendants children of this process (Linux), so that `exit` finds them."""
    import ctypes

    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # the reading end is closed
        return


def _kill_descendants() -> None:
    """Kill all descendants of this process and wait until they have ended."""
    import psutil

    descendants = psutil.Process().children(recursive=True)
    for process in descendants:
        try:
            process.kill()
        except psutil.Error:  # it has ended
            continue
    psutil.wait_procs(descendants, timeout=_KILL_WAIT_S)
