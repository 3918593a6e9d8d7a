"""`python -m fastdfkd`, and the `fastdfkd` command: signals are ours before imports take time."""

from __future__ import annotations

import os
import sys

from fastdfkd import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process."""
    if sys.getfilesystemencoding() != "utf-8":  # names of files would not be text
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    signals.run(_work)


def _work() -> int:
    from fastdfkd import cli

    return cli.command_line()


if __name__ == "__main__":
    main()
