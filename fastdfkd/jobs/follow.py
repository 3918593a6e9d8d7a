"""Following a job: its log as it comes, what Ctrl-C means, and the exit code it ends with."""

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
"""Exit code after Ctrl-C, as shells have it."""

QUIET_S = 30.0
"""Seconds without a line after which a job that has not begun is said to be waiting."""

_RETRIES, _STOP_SLACK_S = 5, 30.0
_QUESTION = "stop the job (s), leave it running (l), or go on following (Enter)? "


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
            client: of the cluster.
            job: id of the job.
            write: takes the log as it comes.
            note: takes remarks of ours, a line each.
        """
        self.client, self.job, self.write, self.note = client, job, write, note
        self._shown = 0
        """Characters of the log already written: a new connection starts from the beginning."""

    def run(self) -> int:
        """Follow to the end, or to where the user leaves."""
        while True:
            try:
                self._follow()
                return self._code()
            except KeyboardInterrupt:
                if (code := self._interrupted()) is not None:
                    return code

    def _follow(self) -> None:
        """The log to its end; a lost connection is made again, until the head is given up."""
        for attempt in range(_RETRIES):
            try:
                asyncio.run(self._tail())
                if self._status().is_terminal():
                    return
                why = "it ended before the job"
            except (RuntimeError, OSError) as error:
                why = str(error)
                self.note(f"lost the log of {self.job}: {why}; connecting again")
            time.sleep(2.0**attempt)
        raise SubmissionError(
            f"lost the log of {self.job} {_RETRIES} times, the last time: {why}. The job may go "
            f"on: see `{self._command('logs')}`"
        )

    async def _tail(self) -> None:
        lines = self.client.tail_job_logs(self.job).__aiter__()
        skip = self._shown
        while True:
            coming = asyncio.ensure_future(anext(lines, None))
            while not (await asyncio.wait({coming}, timeout=QUIET_S))[0]:
                if not self._shown:
                    self.note(
                        f"{self.job} is waiting: {self.client.get_job_info(self.job).message}"
                    )
            if (text := coming.result()) is None:
                return
            self.write(text[skip:])
            self._shown += len(text[skip:])
            skip = max(skip - len(text), 0)

    def _status(self) -> JobStatus:
        return self.client.get_job_status(self.job)

    def _code(self) -> int:
        """0 for success; else the command's own exit code, 1 where there is none."""
        info = self.client.get_job_info(self.job)
        if info.status.value == "SUCCEEDED":
            return 0
        self.note(f"{self.job} {info.status.value.lower()}: {info.message}")
        code = info.driver_exit_code
        return code if code is not None and 0 < code < 256 else 1

    def _interrupted(self) -> int | None:
        """Ask what Ctrl-C was to mean; `None` goes on. Without a terminal the job is left alone."""
        answer = "l"
        if sys.stdin.isatty() and sys.stderr.isatty():
            print(f"\n{self.job}: {_QUESTION}", end="", file=sys.stderr, flush=True)
            try:
                answer = sys.stdin.readline().strip().lower()[:1] or "go on"
            except KeyboardInterrupt:
                print(file=sys.stderr)
        if answer == "s":
            self._stop()
            return INTERRUPTED
        if answer == "l":
            self.note(
                f"{self.job} goes on without us; `{self._command('logs -f')}` follows it and "
                f"`{self._command('stop')}` ends it"
            )
            return INTERRUPTED
        return None

    def _stop(self) -> None:
        """End the job and wait until it has given back what it held."""
        self.note(f"stopping {self.job}")
        self.client.stop_job(self.job)
        deadline = time.monotonic() + STOP_S + _STOP_SLACK_S
        while not self._status().is_terminal() and time.monotonic() < deadline:
            time.sleep(0.5)
        self.note(f"{self.job} is {self._status().value.lower()}")

    def _command(self, words: str) -> str:
        """Ray's own command for this job; elsewhere than on the head it needs the address."""
        verb, *options = words.split()
        return " ".join(
            ["ray job", verb, "--address", self.client.get_address(), *options, self.job]
        )
