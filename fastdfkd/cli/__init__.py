"""The `fastdfkd` command line.

The signal handlers are installed before any slow import.
"""

from __future__ import annotations

import os
import sys

from fastdfkd import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line of this process and exit with its code.

    Python is started again in UTF-8 mode if the locale has another encoding, as the C locale has:
    file names with other characters could not be printed.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    signals.run(_run_command)


def _run_command() -> int:
    from fastdfkd.cli.commands import command_line

    return command_line()
