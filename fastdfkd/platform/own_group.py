"""Start Ray in process groups of its own, out of reach of signals to this process's group.

`timeout`, `ray job stop` and Ctrl-C in a terminal signal the whole group. Ray's processes would end
at once, and this process could no longer close its run, because its calls would get no answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_starting = False


@contextmanager
def own_process_groups() -> Iterator[None]:
    """Make each process that Ray starts inside the block the leader of a new process group.

    Ray's processes still end with this one: Ray has the kernel kill them when their parent dies.
    """
    global _starting
    _starting = True
    try:
        yield
    finally:
        _starting = False


def _lead_new_group() -> None:
    """Runs in forked children. `subprocess` runs it only if given a `preexec_fn`, as Ray does."""
    if _starting:
        os.setpgid(0, 0)


os.register_at_fork(after_in_child=_lead_new_group)
