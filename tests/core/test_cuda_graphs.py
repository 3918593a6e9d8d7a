"""Stream order, memory and errors of CUDA graphs: with stand-ins on the CPU, and on a GPU."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch import Tensor

from fastdfkd.core import captured as captured_module
from fastdfkd.core.captured import (
    WARM_UP,
    Captured,
    CudaGraphs,
    RecordingError,
    capture_failure,
    captured,
    failures_of,
    release_steps,
)
from fastdfkd.core.memory import forget_peak_memory, peak_memory_bytes

from .fake_cuda import GRAPH_BYTES, FakeCuda, fake_cuda

__all__ = ["fake_cuda"]


def doubled(fake: FakeCuda) -> Captured[Tensor]:
    """A captured step that logs where it runs."""

    def step(x: Tensor) -> Tensor:
        fake.log.append(f"step on {fake.streams[-1]}")
        return x * 2

    found = captured(step, "cuda", True)
    assert isinstance(found, Captured)
    return found


def test_a_step_is_ordered_with_the_callers_stream_before_after_and_while_it_is_recorded(
    fake_cuda: FakeCuda,
) -> None:
    step = doubled(fake_cuda)
    for _ in range(WARM_UP + 2):
        step(torch.ones(2))
    warm = ["recording waits for callers", "step on recording", "callers waits for recording"]
    assert fake_cuda.log == [
        *warm * WARM_UP,
        "record into pool 1 on recording, errors thread_local",
        "step on recording",
        "replay on callers",
        "replay on callers",
    ]


def test_all_recordings_of_a_step_share_a_pool_and_give_their_memory_back(
    fake_cuda: FakeCuda,
) -> None:
    step = doubled(fake_cuda)
    for shape in (2, 3):
        for _ in range(WARM_UP + 1):
            step(torch.ones(shape))
    assert [line for line in fake_cuda.log if "pool" in line] == [
        "record into pool 1 on recording, errors thread_local"
    ] * 2
    assert fake_cuda.reserved == 2 * GRAPH_BYTES
    step.release()
    assert fake_cuda.reserved == 0
    step(torch.ones(2))
    assert not step.recordings, "it warms up again"


def test_a_role_gives_back_the_memory_of_its_steps_though_they_refer_to_it(
    fake_cuda: FakeCuda,
) -> None:
    class Role:
        def __init__(self) -> None:
            self.step = captured(self.run, "cuda", True)

        def run(self, x: Tensor) -> Tensor:
            return x + 1

    gc.disable()
    try:
        role = Role()
        for _ in range(WARM_UP + 1):
            role.step(torch.ones(2))
        assert fake_cuda.reserved == GRAPH_BYTES
        release_steps(role)
        assert fake_cuda.reserved == 0
    finally:
        gc.enable()


def test_the_trial_of_a_network_keeps_no_graph(fake_cuda: FakeCuda) -> None:
    first, second = torch.ones(3), torch.zeros(3)
    assert capture_failure(lambda x: x * 2, "cuda", first, second), "a fake replays nothing"
    assert any("record" in line for line in fake_cuda.log)
    assert fake_cuda.reserved == 0


def test_a_step_that_waits_for_the_device_is_refused_before_it_is_recorded(
    fake_cuda: FakeCuda,
) -> None:
    def waits(x: Tensor) -> Tensor:
        if fake_cuda.sync_mode == "error":
            raise RuntimeError("called a synchronizing CUDA operation")
        return x

    reason = capture_failure(waits, "cuda", torch.ones(3), torch.ones(3))
    assert reason == "called a synchronizing CUDA operation"
    assert not any("record into" in line for line in fake_cuda.log)
    assert fake_cuda.sync_mode == 0, "as it was"


def test_a_failed_recording_is_said_once_and_the_step_goes_on(
    fake_cuda: FakeCuda, caplog: pytest.LogCaptureFixture
) -> None:
    recording = False
    discarded = []

    class Role:
        def __init__(self) -> None:
            self.step = captured(self.run, "cuda", True, lambda: discarded.append(recording))

        def run(self, x: Tensor) -> Tensor:
            if fake_cuda.log[-1].startswith("record into"):
                raise RuntimeError("out of memory\nand a long explanation")
            return x * 3

    role = Role()
    found = [role.step(torch.full((), float(number))).item() for number in range(WARM_UP + 3)]
    assert found == [3.0 * number for number in range(WARM_UP + 3)]
    assert failures_of(role) == ["Role runs without cuda_graphs (out of memory)"]
    assert len(discarded) == len(caplog.records) == 1
    assert "out of memory" in caplog.text


@pytest.mark.parametrize("others", [True, False])
def test_workers_agree_on_a_recording_after_it_and_outside_of_it(
    fake_cuda: FakeCuda, others: bool
) -> None:
    """The exchange that asks the others must not be part of the graph."""
    agreed = []

    def agree(mine: bool) -> bool:
        fake_cuda.log.append(f"agree on {fake_cuda.streams[-1]}")
        agreed.append(mine)
        return mine and others

    step: Any = captured(lambda x: x * 2, "cuda", True, agree=agree)
    for _ in range(WARM_UP):
        step(torch.ones(2))
    fake_cuda.log.clear()
    step(torch.ones(2))
    step(torch.ones(2))
    assert agreed == [True]
    record = ["record into pool 1 on recording, errors thread_local", "agree on callers"]
    plain = ["recording waits for callers", "callers waits for recording"]
    assert fake_cuda.log == record + (["replay on callers"] * 2 if others else plain * 2)
    assert len(step.recordings) == others
    assert fake_cuda.in_graphs == others * GRAPH_BYTES
    assert step.failure == ("" if others else "another worker could not record it")


def test_other_errors_of_a_step_are_raised(fake_cuda: FakeCuda) -> None:
    def step(_: Tensor) -> Tensor:
        raise FloatingPointError("diverged")

    recorder = CudaGraphs(torch.device("cuda"))
    with pytest.raises(FloatingPointError, match="diverged"):
        recorder.record(lambda: step(torch.ones(1)))


def test_the_peak_counts_what_is_allocated_from_then_on(fake_cuda: FakeCuda) -> None:
    fake_cuda.allocate(500)
    fake_cuda.allocate(-400)
    assert peak_memory_bytes("cuda") == 500
    assert forget_peak_memory("cuda") == 100
    fake_cuda.allocate(50)
    fake_cuda.allocate(-50)
    assert peak_memory_bytes("cuda") == 150


@pytest.mark.gpu
def test_the_memory_of_graphs_comes_back_on_a_gpu() -> None:
    def step(x: Tensor) -> Tensor:
        return (x @ x).sum(0)

    x = torch.randn(2048, 2048, device="cuda")
    recorded: Any = captured(step, "cuda", True)
    for _ in range(WARM_UP):
        recorded(x)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    recorded(x)
    assert torch.cuda.memory_reserved() > before
    recorded.release()
    assert torch.cuda.memory_reserved() <= before


@pytest.mark.gpu
def test_after_a_refused_step_the_default_generator_still_draws_on_a_gpu() -> None:
    x = torch.randn(8, device="cuda")
    reason = capture_failure(lambda x: x / x.abs().max().item(), "cuda", x, x + 1)
    assert reason is not None
    assert "synchroniz" in reason
    assert torch.rand(3, device="cuda").shape == (3,)
    assert captured_module.capture_failure(lambda x: x * 2, "cuda", x, x + 1) is None


@pytest.mark.gpu
def test_a_step_that_fails_while_it_is_recorded_goes_on_on_a_gpu() -> None:
    """Without the rehearsal: what the trial cannot foresee."""
    recorded: Any = captured(lambda x: x * x.sum().item(), "cuda", True)
    x = torch.ones(4, device="cuda")
    for _ in range(WARM_UP + 2):
        assert recorded(x).tolist() == [4.0] * 4
    assert recorded.failure


def test_recording_errors_name_the_first_line(fake_cuda: FakeCuda) -> None:
    def step() -> Tensor:
        raise RuntimeError("first\nsecond")

    with pytest.raises(RecordingError, match=r"^first$"):
        CudaGraphs(torch.device("cuda")).record(step)
