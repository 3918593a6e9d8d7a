"""Following a job's log to its end, with the cluster's client played by a list of pieces."""

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
    """A job whose log comes in pieces; an error among them is raised once, a signal sent once."""

    def __init__(
        self, *pieces: str | Exception | signal.Signals, ends: str, code: int | None = None
    ) -> None:
        self.pieces, self.status, self.code = list(pieces), ends, code
        self.ends = ends
        self.stopped = False
        self.away = 0
        """Questions for its status that nobody answers."""

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        assert job == "j"
        for place, piece in enumerate(self.pieces):
            if isinstance(piece, str):
                yield piece
                continue
            self.status = "RUNNING"
            del self.pieces[place]
            if isinstance(piece, Exception):
                raise piece
            signal.raise_signal(piece)
            await asyncio.sleep(60)
        self.status = self.ends

    def get_job_info(self, job: str) -> Any:
        status = SimpleNamespace(
            value=self.status, is_terminal=lambda: self.status not in ("PENDING", "RUNNING")
        )
        return SimpleNamespace(status=status, message="told so", driver_exit_code=self.code)

    def get_job_status(self, job: str) -> Any:
        if self.away:
            self.away -= 1
            raise ConnectionError("refused")
        return self.get_job_info(job).status

    def get_address(self) -> str:
        return "http://head:8265"

    def stop_job(self, job: str) -> bool:
        self.stopped, self.status = True, "STOPPED"
        return True


class Follow:
    """Follows a fake job and keeps what was said."""

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
    found = Follow(FakeJob("one\n", "two\n", ends=ends, code=code))
    assert (found.code, "".join(found.log)) == (expected, "one\ntwo\n")
    assert found.notes == ([] if expected == 0 else [f"j {ends.lower()}: told so"])


def test_a_lost_connection_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: None)
    found = Follow(FakeJob("one\n", RuntimeError("closed"), "two\n", ends="SUCCEEDED"))
    assert (found.code, "".join(found.log)) == (0, "one\ntwo\n"), "no line twice"
    assert "closed" in found.notes[0]


def test_a_log_that_is_lost_for_good_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: None)
    with pytest.raises(SubmissionError, match=r"closed.*ray job logs --address http://head:8265 j"):
        Follow(FakeJob(*[RuntimeError("closed")] * 9, ends="SUCCEEDED"))


def test_a_head_that_is_away_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the log nor the status can be had: both are asked for again."""
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: None)
    job = FakeJob("one\n", RuntimeError("closed"), "two\n", ends="SUCCEEDED")
    job.away = 1
    found = Follow(job)
    assert (found.code, "".join(found.log)) == (0, "one\ntwo\n")
    assert any("refused" in note for note in found.notes)


def test_ctrl_c_without_a_terminal_leaves_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    job = FakeJob("one\n", signal.SIGINT, ends="SUCCEEDED")
    found = Follow(job)
    assert (found.code, job.stopped) == (130, False)
    assert "ray job logs --address http://head:8265 -f j" in found.notes[-1]
    assert "ray job stop --address http://head:8265 j" in found.notes[-1]


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
    found = Follow(job)
    assert (found.code, job.stopped) == (code, stopped)
    assert "stop the job (s)" in capsys.readouterr().err
    assert "".join(found.log) == ("one\n" if code else "one\ntwo\n")
