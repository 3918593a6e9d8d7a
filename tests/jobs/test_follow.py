"""Follow a job's log to its end, with a fake client that sends a list of pieces."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from fastdfkd.jobs import follow
from fastdfkd.jobs.follow import Follower
from fastdfkd.jobs.submit import SubmissionError


class FakeJob:
    """A job whose log is `pieces`; an error among them is raised once, a signal raised once."""

    def __init__(
        self, *pieces: str | Exception | signal.Signals, ends: str, code: int | None = None
    ) -> None:
        self.pieces, self.status, self.code = list(pieces), ends, code
        self.ends = ends
        self.stopped = False
        self.unanswered = 0
        """Status requests that fail with a ConnectionError."""

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        assert job == "j"
        for position, piece in enumerate(self.pieces):
            if isinstance(piece, str):
                yield piece
                continue
            self.status = "RUNNING"
            del self.pieces[position]
            if isinstance(piece, Exception):
                raise piece
            signal.raise_signal(piece)
            await asyncio.sleep(60)
        self.status = self.ends

    def get_job_info(self, job: str) -> Any:
        status = SimpleNamespace(
            value=self.status, is_terminal=lambda: self.status not in ("PENDING", "RUNNING")
        )
        return SimpleNamespace(status=status, message="a message", driver_exit_code=self.code)

    def get_job_status(self, job: str) -> Any:
        if self.unanswered:
            self.unanswered -= 1
            raise ConnectionError("refused")
        return self.get_job_info(job).status

    def get_address(self) -> str:
        return "http://head:8265"

    def stop_job(self, job: str) -> bool:
        self.stopped, self.status = True, "STOPPED"
        return True


class Follow:
    """Follows a fake job and keeps its log, the notes and the exit code."""

    def __init__(self, job: FakeJob) -> None:
        self.log: list[str] = []
        self.notes: list[str] = []
        client: Any = job
        follower = Follower(client, "j", write=self.log.append, note=self.notes.append)
        self.code = follower.run()


@pytest.mark.parametrize(
    ("ends", "code", "expected"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 2, 2),
        ("FAILED", None, 1),
        ("FAILED", -9, 1),
        ("STOPPED", None, 1),
    ],
)
def test_the_exit_code_is_the_jobs(ends: str, code: int | None, expected: int) -> None:
    followed = Follow(FakeJob("one\n", "two\n", ends=ends, code=code))
    assert (followed.code, "".join(followed.log)) == (expected, "one\ntwo\n")
    assert followed.notes == ([] if expected == 0 else [f"j {ends.lower()}: a message"])


def test_a_new_connection_continues_where_the_log_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: None)
    followed = Follow(FakeJob("one\n", RuntimeError("closed"), "two\n", ends="SUCCEEDED"))
    assert (followed.code, "".join(followed.log)) == (0, "one\ntwo\n"), "no line twice"
    assert "closed" in followed.notes[0]


def test_a_log_that_is_lost_for_good_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: None)
    with pytest.raises(SubmissionError, match=r"closed.*ray job logs --address http://head:8265 j"):
        Follow(FakeJob(*[RuntimeError("closed")] * 9, ends="SUCCEEDED"))


def test_a_head_that_does_not_answer_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the log nor the status is available: both are requested again."""
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: None)
    job = FakeJob("one\n", RuntimeError("closed"), "two\n", ends="SUCCEEDED")
    job.unanswered = 1
    followed = Follow(job)
    assert (followed.code, "".join(followed.log)) == (0, "one\ntwo\n")
    assert any("refused" in note for note in followed.notes)


def test_ctrl_c_without_a_terminal_leaves_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    job = FakeJob("one\n", signal.SIGINT, ends="SUCCEEDED")
    followed = Follow(job)
    assert (followed.code, job.stopped) == (130, False)
    assert "ray job logs --address http://head:8265 -f j" in followed.notes[-1]
    assert "ray job stop --address http://head:8265 j" in followed.notes[-1]


@pytest.mark.parametrize(
    ("typed", "code", "stopped"), [("s\n", 130, True), ("l\n", 130, False), ("\n", 0, False)]
)
def test_ctrl_c_on_a_terminal_asks(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    code: int,
    stopped: bool,
) -> None:
    keyboard = SimpleNamespace(isatty=lambda: True, readline=lambda: typed)
    monkeypatch.setattr(follow.sys, "stdin", keyboard)
    monkeypatch.setattr(follow.sys.stderr, "isatty", lambda: True)
    job = FakeJob("one\n", signal.SIGINT, "two\n", ends="SUCCEEDED")
    followed = Follow(job)
    assert (followed.code, job.stopped) == (code, stopped)
    assert "stop the job (s)" in capsys.readouterr().err
    assert "".join(followed.log) == ("one\n" if code else "one\ntwo\n")
