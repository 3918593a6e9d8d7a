"""Two workers that train together: two processes with gloo, or NCCL on GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch.utils._pytree import tree_leaves

from fastdfkd.core.worker_group import OneWorker, WorkerGroup

from . import parts
from .replays import assert_same
from .two_workers import in_two_workers
from .worker_programs import TwoHeads, against_ddp, distiller, gloo, nccl, report, trained, weights


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    return in_two_workers(gloo)


def test_weights_are_those_of_the_simplest_average(found: list[dict[str, Any]]) -> None:
    for mine in found:
        assert_same(mine["plain"], mine["by hand"])
    one, other = (mine["plain"] for mine in found)
    assert_same(weights(one), weights(other))
    assert not torch.equal(one[0], other[0]), "each has its own images"


def test_regressors_of_stages_are_averaged_too(found: list[dict[str, Any]]) -> None:
    for mine in found:
        assert_same(mine["maps"]["plain"], mine["maps"]["by hand"])
        assert_same(mine["maps"]["plain"], mine["maps"]["captured"])
        assert not torch.equal(mine["maps"]["plain"][0][0], mine["plain"][0])
    one, other = (mine["maps"]["plain"] for mine in found)
    assert_same(weights(one[0]), weights(other[0]))
    assert len(one[1]) == 4
    assert_same(one[1], other[1])


def test_captured_updates_with_their_exchanges_are_the_same(found: list[dict[str, Any]]) -> None:
    """Single ones and several in one replay."""
    for mine in found:
        assert mine["captured"]["recordings"] == [1, 1]
        assert mine["captured"]["notes"] == []
        assert_same(mine["captured"]["result"], mine["plain"])


def test_if_one_worker_cannot_record_none_replays(found: list[dict[str, Any]]) -> None:
    """NCCL wants an exchange to be part of a graph on all workers or on none."""
    why = ["another worker could not record it", "no memory left"]
    for mine, reason in zip(found, why, strict=True):
        assert mine["second fails"]["recordings"] == [0, 0]
        assert len(mine["second fails"]["notes"]) == 2
        assert all(reason in note for note in mine["second fails"]["notes"])
        assert_same(mine["second fails"]["result"], mine["plain"])


def test_a_student_with_idle_parameters_is_not_captured(found: list[dict[str, Any]]) -> None:
    for mine in found:
        assert mine["idle"]["recordings"] == []
        assert "some parameters get no gradient" in mine["idle"]["notes"][0]


def test_only_what_no_worker_uses_stays_as_it_is(found: list[dict[str, Any]]) -> None:
    one, other = (weights(mine["two heads"]) for mine in found)
    assert_same(one, other)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        before = TwoHeads(used=True).state_dict()
    for name, weight in one.items():
        assert torch.equal(weight, before[name]) == name.startswith("never"), name


def test_all_start_as_the_first(found: list[dict[str, Any]]) -> None:
    one, other = (mine["starts"] for mine in found)
    assert_same(one, other)
    assert_same(one, list(parts.network(39, (3, 4)).state_dict().values()))


def test_a_gradient_that_is_missing_is_an_error(found: list[dict[str, Any]]) -> None:
    for mine in found:
        assert (
            "8 parameters of the student got no gradient in an update (0.weight)" in mine["dropped"]
        )


def test_a_value_is_agreed_on_if_all_have_it(found: list[dict[str, Any]]) -> None:
    assert [mine["agree"] for mine in found] == [[True, False, False, False]] * 2
    assert [OneWorker().agree(mine) for mine in (True, False)] == [True, False]


def test_the_smallest_number_is_known_to_all(found: list[dict[str, Any]]) -> None:
    assert [mine["least"] for mine in found] == [[3, 3]] * 2
    assert OneWorker().least(5) == 5


def test_workers_start_without_torchs_compiler(found: list[dict[str, Any]]) -> None:
    """DDP imports it, which takes more than five seconds in every worker."""
    assert [mine["compiler"] for mine in found] == [False, False]


def test_without_a_process_group_workers_cannot_train_together() -> None:
    with pytest.raises(RuntimeError, match="init_process_group first"):
        WorkerGroup(parts.student())


@pytest.mark.slow
def test_students_are_those_of_ddp_bit_for_bit() -> None:
    for mine in in_two_workers(against_ddp):
        assert_same(mine["ours"], mine["ddp"])


@pytest.fixture
def nccl_alone(tmp_path: Path) -> Iterator[None]:
    where = f"file://{tmp_path}/store"
    distributed.init_process_group("nccl", init_method=where, rank=0, world_size=1)
    with torch.backends.cudnn.flags(deterministic=True):
        yield
    distributed.destroy_process_group()


@pytest.mark.gpu
@pytest.mark.usefixtures("nccl_alone")
def test_an_update_with_nccl_is_captured_on_a_gpu() -> None:
    captured, plain = (
        distiller(world_size=1, device="cuda", capture=capture) for capture in (True, False)
    )
    try:
        found = report(captured)
    finally:
        captured.release()  # a process group cannot end while graphs hold its exchanges
    assert found["notes"] == []
    assert found["recordings"] == [1, 1]
    assert_same(found["result"], trained(plain))


@pytest.mark.gpu
def test_two_gpus_capture_the_same_updates() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    both = in_two_workers(nccl, "nccl")
    for mine in both:
        assert mine["captured"]["recordings"] == [1, 1]
        found, plain = mine["captured"]["result"], mine["plain"]
        for one, other in zip(tree_leaves(found), tree_leaves(plain), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    one, other = (weights(mine["captured"]["result"]) for mine in both)
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
