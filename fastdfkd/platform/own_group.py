"""Keeping signals to our process group away from the Ray that we start.

`timeout`, `ray job stop` and a terminal's Ctrl-C signal a whole group. Ray's processes die of that
at once, and then this process waits in vain for the answers with which it would close its run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_starting = False


@contextmanager
def groups_of_their_own() -> Iterator[None]:
    """Have processes that Ray starts inside the block lead process groups of their own.

    They still end with this process: Ray has the kernel kill them when it dies.
    """
    global _starting
    _starting = True
    try:
        yield
    finally:
        _starting = False


def _leave_group() -> None:
    """In a process that was just forked; Python runs it where Ray hooks in too (`preexec_fn`)."""
    if _starting:
        os.setpgid(0, 0)


os.register_at_fork(after_in_child=_leave_group)
