"""Follow a Ray job: print its log, handle Ctrl-C, and return its exit code."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastdfkd.jobs.submit import STOP_S, SubmissionError

if TYPE_CHECKING:
    from ray.job_submission import JobStatus, JobSubmissionClient

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of shells."""

QUIET_S = 30.0
"""Seconds without a first line of the log after which the job's state is reported."""

_RETRIES, _STOP_SLACK_S = 5, 30.0
_QUESTION = "stop the job (s), leave it running (l), or keep following (Enter)? "


class Follower:
    """Prints a job's log until the job ends; `run` returns the exit code."""

    def __init__(
        self,
        client: JobSubmissionClient,
        job: str,
        *,
        write: Callable[[str], None],
        note: Callable[[str], None],
    ):
        """Follow `job` of `client`.

        Args:
            client: the cluster's job client.
            job: the job's id.
            write: called with each piece of the log.
            note: called with each message about the job, one line.
        """
        self.client, self.job, self.write, self.note = client, job, write, note
        self._written = 0
        """Characters of the log already written; a new connection sends them again."""

    def run(self) -> int:
        """Follow the job until it ends or the user stops following; return the exit code."""
        while True:
            try:
                self._follow()
                return self._code()
            except KeyboardInterrupt:
                if (code := self._interrupted()) is not None:
                    return code

    def _follow(self) -> None:
        """Write the log to its end; reconnect up to `_RETRIES` times.

        Raises:
            SubmissionError: the connection was lost too often.
        """
        for attempt in range(_RETRIES):
            try:
                asyncio.run(self._tail())
                if self._status().is_terminal():
                    return
                reason = "it ended before the job"
            except (RuntimeError, OSError) as error:
                reason = str(error)
                self.note(f"lost the log of {self.job}: {reason}; connecting again")
            time.sleep(2.0**attempt)
        raise SubmissionError(
            f"lost the log of {self.job} {_RETRIES} times, the last time: {reason}. The job may "
            f"still be running: see `{self._command('logs')}`"
        )

    async def _tail(self) -> None:
        lines = self.client.tail_job_logs(self.job).__aiter__()
        skip = self._written
        while True:
            piece = asyncio.ensure_future(anext(lines, None))
            while not (await asyncio.wait({piece}, timeout=QUIET_S))[0]:
                if not self._written:
                    self.note(
                        f"{self.job} is waiting: {self.client.get_job_info(self.job).message}"
                    )
            if (text := piece.result()) is None:
                return
            self.write(text[skip:])
            self._written += len(text[skip:])
            skip = max(skip - len(text), 0)

    def _status(self) -> JobStatus:
        return self.client.get_job_status(self.job)

    def _code(self) -> int:
        """The job's exit code: 0 if it succeeded, else its command's, or 1 if there is none."""
        info = self.client.get_job_info(self.job)
        if info.status.value == "SUCCEEDED":
            return 0
        self.note(f"{self.job} {info.status.value.lower()}: {info.message}")
        code = info.driver_exit_code
        return code if code is not None and 0 < code < 256 else 1

    def _interrupted(self) -> int | None:
        """Ask what to do after Ctrl-C; without a terminal leave the job running.

        Returns:
            The exit code; None: keep following.
        """
        answer = "l"
        if sys.stdin.isatty() and sys.stderr.isatty():
            print(f"\n{self.job}: {_QUESTION}", end="", file=sys.stderr, flush=True)
            try:
                answer = sys.stdin.readline().strip().lower()[:1] or "follow"
            except KeyboardInterrupt:
                print(file=sys.stderr)
        if answer == "s":
            self._stop()
            return INTERRUPTED
        if answer == "l":
            self.note(
                f"{self.job} keeps running; `{self._command('logs -f')}` follows it and "
                f"`{self._command('stop')}` stops it"
            )
            return INTERRUPTED
        return None

    def _stop(self) -> None:
        """Stop the job and wait until it has ended and released its resources."""
        self.note(f"stopping {self.job}")
        self.client.stop_job(self.job)
        deadline = time.monotonic() + STOP_S + _STOP_SLACK_S
        while not self._status().is_terminal() and time.monotonic() < deadline:
            time.sleep(0.5)
        self.note(f"{self.job} is {self._status().value.lower()}")

    def _command(self, words: str) -> str:
        """The `ray job` command line for this job, with the address needed outside the head."""
        verb, *options = words.split()
        return " ".join(
            ["ray job", verb, "--address", self.client.get_address(), *options, self.job]
        )
