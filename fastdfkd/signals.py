"""How a command ends on Ctrl-C, SIGTERM or SIGHUP: one line, its own exit code, nothing left.

    first signal                    -> stderr is closed to everybody else, the main thread unwinds
    the same or another one, later  -> what is below is killed, the process ends
    some seconds after the first    -> likewise: `START_S`, `BOUND_S` once there is a run to close

The first signal is seen by a thread of its own, through Python's wake-up descriptor: it counts even
where the main thread is inside a library, or where a library has put a handler of its own in
place. Exit codes are those of shells: 130, 143 and 129. This module imports nothing heavy: its
handlers are to be there before anything takes time.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time

TYPE_CHECKING = False  # `typing` itself takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import NoReturn

WORDS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hung up",
}
"""The line of each signal, after `fastdfkd: `."""

START_S, BOUND_S = 2.0, 11.0
"""Seconds that a command may take to end before and after `to_close`; then it is ended as it is."""

_ONE_AND_THE_SAME_S = 1.0
"""Signals within it count once: some parents pass on what a terminal sent to the whole group."""

_GONE_S = 2.0
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>
_SHOW_CURSOR = b"\x1b[?25h\n"


def exit_code(signum: int) -> int:
    """Of a command that ended on a signal."""
    return 128 + signum


class Signals:
    """The handlers of a command's process; made once, in its main thread."""

    def __init__(self) -> None:
        self.first: int | None = None
        """The signal on which the command ends."""
        self._over = self._asked = False
        self._leaving = threading.Lock()
        self._stderr = _copy(2)

    def take(self) -> None:
        """Put the handlers in place."""
        seen, wake_up = os.pipe()
        os.set_blocking(wake_up, False)
        signal.set_wakeup_fd(wake_up, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=_forget)
        for signum in WORDS:
            if signal.getsignal(signum) is not signal.SIG_IGN:  # as under nohup
                signal.signal(signum, self.handle)
        if sys.platform == "linux":  # whoever loses its parent below us is still found
            _adopt_orphans()
        threading.Thread(target=self._watch, args=(seen,), name="signals", daemon=True).start()

    def handle(self, signum: int, _frame: FrameType | None) -> None:
        """Unwind the main thread by the first signal; later ones are the watching thread's."""
        if self._over and not self._leaving.locked():
            self._note(signum)
            self.leave()
        if self.first not in (None, signum) or self._asked:
            return
        self._asked = True
        self._note(signum)
        if signum == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(exit_code(signum))

    def finish(self) -> None:
        """The command's work is done: leave if a signal ended it, and at once by one that comes."""
        self._over = True
        if self.first is not None:
            _flush()
            self.leave()

    def leave(self) -> NoReturn:
        """End the process and all below it, with the line and the exit code of the first signal."""
        with self._leaving:
            assert self.first is not None
            _kill_all_below()
            self._say(f"fastdfkd: {WORDS[signal.Signals(self.first)]}\n")
            os._exit(exit_code(self.first))

    def _note(self, signum: int) -> None:
        if self.first is None:
            self.first = signum
            self._hush()

    def _watch(self, seen: int) -> None:
        while True:
            signum = os.read(seen, 1)[0]
            if signum in WORDS and not (signum == signal.SIGINT and interactive.is_set()):
                break
        self._note(signum)
        began = time.monotonic()
        bound = BOUND_S if _to_close.is_set() else START_S
        while (left := began + bound - time.monotonic()) > 0:
            if select.select([seen], [], [], left)[0]:
                os.read(seen, 1)
                if time.monotonic() - began > _ONE_AND_THE_SAME_S:
                    break
        self.leave()

    def _hush(self) -> None:
        """Let nobody else write to stderr: what libraries say of being stopped helps nobody."""
        if self._stderr is None or os.environ.get("FASTDFKD_DEBUG"):
            return
        import logging

        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        logging.disable(logging.CRITICAL)

    def _say(self, text: str) -> None:
        if self._stderr is None:
            return
        begin = _SHOW_CURSOR if os.isatty(self._stderr) else b""
        try:
            os.write(self._stderr, begin + text.encode())
        except OSError:  # nobody reads any more
            return


_to_close = threading.Event()


def to_close() -> None:
    """Say that from now on a run is open, which takes longer to end in order than to break off."""
    _to_close.set()


interactive = threading.Event()
"""Set while Ctrl-C is a question to the user and no order to end."""


class Asking:
    """Ctrl-C raises KeyboardInterrupt inside the block each time, and ends nothing by itself."""

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
    """Do the work of this process, and exit with the code that it returns or with a signal's."""
    ours, code = Signals(), 0
    try:
        ours.take()
        code = work()
    except BaseException:
        if ours.first is None:
            raise
    ours.finish()
    sys.exit(code)


def _copy(descriptor: int) -> int | None:
    try:
        return os.dup(descriptor)
    except OSError:  # closed by whoever started us
        return None


def _forget() -> None:
    """In a forked process: its signals are its own affair."""
    signal.set_wakeup_fd(-1)


def _adopt_orphans() -> None:
    """Have whoever loses its parent below us become our child, on Linux: `leave` finds it there."""
    import ctypes

    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # the reader has gone
        return


def _kill_all_below() -> None:
    """Kill all descendants of this process and wait until they are gone."""
    import psutil

    below = psutil.Process().children(recursive=True)
    for process in below:
        try:
            process.kill()
        except psutil.Error:  # it has just ended
            continue
    psutil.wait_procs(below, timeout=_GONE_S)
