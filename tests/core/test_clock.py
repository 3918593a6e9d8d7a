from __future__ import annotations

import time

import pytest
import torch

from fastdfkd.core.clock import Clock


class Ticks:
    """A wall clock that the test sets."""

    now = 100.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    ticks = Ticks()
    monkeypatch.setattr(time, "time", ticks.time)
    return ticks


def test_spans_add_up_by_name(ticks: Ticks) -> None:
    clock = Clock()
    for name, seconds in (("synthesis", 2.0), ("storage", 0.5), ("synthesis", 1.25)):
        with clock.measure(name):
            ticks.now += seconds
        ticks.now += 10
    assert dict(clock.seconds) == {"synthesis": 3.25, "storage": 0.5}
    assert clock.seconds["never measured"] == 0


def test_a_span_that_fails_counts(ticks: Ticks) -> None:
    clock = Clock()

    def fails() -> None:
        with clock.measure("synthesis"):
            ticks.now += 3
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert clock.seconds["synthesis"] == 3


@pytest.mark.parametrize(("device", "waits"), [("cpu", 0), ("cuda:1", 2)])
def test_it_waits_for_the_device_it_measures(
    device: str, waits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    with Clock(device).measure("synthesis"):
        pass
    assert waited == [torch.device(device)] * waits


def test_a_clock_that_is_set_back_counts_no_second_twice(ticks: Ticks) -> None:
    clock, other = Clock(), Clock()
    before = clock.now()
    with clock.measure("synthesis"):
        ticks.now -= 3600
        time.sleep(0.02)
    assert 0.02 <= clock.seconds["synthesis"] < 1
    assert before < clock.now() < before + 1
    assert abs(other.now() - clock.now()) < 0.1, "objects from before the step agree"
    ticks.now += 5
    assert before + 5 < clock.now() < before + 6
