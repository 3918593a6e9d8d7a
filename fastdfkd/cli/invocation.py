"""Runs one command line: exit code, a user's error as one message, format of log records."""

from __future__ import annotations

import json
import logging
import math
import os
import select
import sys
from collections.abc import Sequence
from typing import Any

import typer

from fastdfkd.text.safe_text import lines
from fastdfkd.text.shown import shown_message

_USER_ERRORS = (ValueError, OSError, FloatingPointError)
"""Errors that are printed without a traceback. A run that diverged is a FloatingPointError."""
_BAD_INPUT, _INTERRUPTED = 2, 130
"""Exit codes."""
_GLOBAL_OPTIONS = ("-v", "--verbose")


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run a command line of an app and return its exit code. See `commands.run`."""
    command = typer.main.get_command(app)
    try:
        code = command.main(
            args=_global_options_first(arguments), prog_name="fastdfkd", standalone_mode=False
        )
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except SystemExit as end:
        error = end.__context__
        if not isinstance(error, BrokenPipeError):
            raise
        code = _after_broken_pipe(error)
    except Exception as error:
        if os.environ.get("FASTDFKD_DEBUG") or not _is_user_error(error):
            raise
        say(_message(error))
        return _BAD_INPUT
    if code == _INTERRUPTED:
        say("interrupted")
    return code if isinstance(code, int) else 0


def _after_broken_pipe(error: BrokenPipeError) -> int:
    """The exit code after a broken pipe; typer ends the command without a word after any of them.

    A reader of stdout that has closed it, as in `| head`, needs no message. Any other does.
    """
    if _reader_is_gone():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if os.environ.get("FASTDFKD_DEBUG"):
        raise error
    say(_message(error))
    return _BAD_INPUT


def _reader_is_gone() -> bool:
    """Whether the reading end of stdout is closed."""
    watched = select.poll()
    try:
        watched.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # stdout is no file
        return False
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in watched.poll(0))


def set_up_logging() -> None:
    """Log warnings of all libraries to stderr, each as `fastdfkd: MESSAGE`."""
    logging.basicConfig(level=logging.WARNING)
    for handler in logging.root.handlers:
        handler.setFormatter(_Formatter("fastdfkd: %(message)s"))


def _global_options_first(arguments: Sequence[str]) -> list[str]:
    """Move `-v` before the command, where typer accepts it, so that users may write it anywhere."""
    first = [argument for argument in arguments if argument in _GLOBAL_OPTIONS]
    return first + [argument for argument in arguments if argument not in _GLOBAL_OPTIONS]


class _Formatter(logging.Formatter):
    """Formats log records of all libraries: control characters escaped, credentials removed."""

    def format(self, record: logging.LogRecord) -> str:
        return lines(shown_message(super().format(record)))


def _is_user_error(error: Exception) -> bool:
    """Whether the user can fix it: a usage error of the command line, or bad input."""
    return hasattr(error, "format_message") or isinstance(error, _USER_ERRORS)


def _message(error: Any) -> str:
    """The message of the error. Ray wraps an actor's error; then it is the message of the cause."""
    if hasattr(error, "format_message"):
        return f"{error.format_message()} (see fastdfkd --help)"
    return str(getattr(error, "cause", None) or error) or type(error).__name__


def print_json(value: Any) -> None:
    """Print plain data on stdout as JSON. NaN and infinity, which JSON lacks, become null."""
    print(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(message: str) -> None:
    """Print a message on stderr, safe for a terminal and without credentials."""
    print(f"fastdfkd: {lines(shown_message(message))}", file=sys.stderr)
