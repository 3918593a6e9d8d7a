"""Two workers that train together: two processes with gloo, or NCCL on GPUs."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.utils._pytree import tree_leaves, tree_map

from fastdfkd.core import captured as captured_module
from fastdfkd.core import chained_updates
from fastdfkd.core.captured import WARM_UP, Captured
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.worker_group import OneWorker, WorkerGroup
from fastdfkd.recipe import DistillationSection

from . import parts
from .replays import assert_same, in_float32
from .tape import FailingRecorder, TapeRecorder
from .test_captured_updates import bank
from .two_workers import in_two_workers


class TwoHeads(nn.Module):
    """A student with a head that is never used, and one that only one worker uses."""

    def __init__(self, used: bool) -> None:
        super().__init__()
        self.body, self.used = parts.student(), used
        self.never, self.once = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.body(images)
        return self.once(logits) if self.used else logits


def distiller(rank: int = 0, **more: Any) -> StudentDistiller:
    """One of two workers, or with `world_size` 1 the only one."""
    values = {"updates_per_round": 2, "batch_size": 6, "lr": 0.02, "crop_padding": 1}
    section = DistillationSection(**values, stage_maps=more.pop("stage_maps", 0.0))
    about = {name: more.pop(name) for name in ("together", "world_size") if name in more}
    task = parts.task(**more)
    return StudentDistiller(
        section, task, total_updates=40, rank=rank, **{"together": True, "world_size": 2, **about}
    )


def by_hand(rank: int, **more: Any) -> Any:
    """A worker whose gradients are averaged in the simplest way."""
    pupil = distiller(rank, together=False, **more)
    step, follow = pupil.optimizer.step, pupil.follow

    def averaged() -> None:
        for parameter in pupil.optimizer.parameters:
            assert parameter.grad is not None
            half = parameter.grad.contiguous() * 0.5
            distributed.all_reduce(half)
            parameter.grad.copy_(half)
        step()

    def followed(*arguments: Tensor) -> Tensor:
        for buffer in pupil.module.buffers():
            distributed.broadcast(buffer, 0)
        return follow(*arguments)

    pupil.optimizer.step = averaged  # type: ignore[method-assign]
    pupil.follow = followed
    return pupil


def by_ddp(rank: int, **more: Any) -> Any:
    """A worker whose gradients are averaged by torch's DistributedDataParallel."""
    pupil = distiller(rank, together=False, **more)
    idle = pupil.student_use.idle_parameters
    pupil.module = nn.parallel.DistributedDataParallel(pupil.module, find_unused_parameters=idle)
    return pupil


def trained(pupil: StudentDistiller, updates: int = 0) -> Any:
    """Losses, and weights and buffers after some updates.

    By default so many that chains and single updates are warmed up, recorded and replayed.
    """
    updates = updates or chained_updates.LENGTH * (WARM_UP + 2) + WARM_UP + 2
    losses = pupil.update_many(bank(str(pupil.device)), updates)
    module = getattr(pupil.module, "module", pupil.module)
    return losses, copy.deepcopy(module.state_dict())


def learned(pupil: StudentDistiller) -> Any:
    """As `trained`, and the regressors of the stages."""
    return trained(pupil), copy.deepcopy(pupil.maps.learned.state_dict())


def weights(result: Any) -> dict[str, Tensor]:
    """The weights of `trained`, which are equal on all workers."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return {name: each for name, each in result[1].items() if not name.endswith(buffers)}


def recorded(rank: int, recorders: dict[int, Any], **more: Any) -> Any:
    """A worker that captures its steps with its own recorder."""
    captured_module.RECORDERS["cpu"] = TapeRecorder
    pupil = distiller(rank, capture=True, **more)
    captured_module.RECORDERS.pop("cpu")
    for step in (pupil.follow, pupil.chain.step):
        if isinstance(step, Captured) and rank in recorders:
            step.recorder = recorders[rank](torch.device("cpu"))
    return pupil


def report(pupil: StudentDistiller, updates: int = 0) -> Any:
    """What a worker says of its captured steps, and what it learns."""
    result = trained(pupil, updates)
    steps = (pupil.follow, pupil.chain.step)
    kept = [len(step.recordings) for step in steps if isinstance(step, Captured)]
    return {"result": result, "recordings": kept, "notes": pupil.notes}


def two_heads(rank: int, make: Any) -> Any:
    """A student whose heads get no gradient on one worker, or on both."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        student = TwoHeads(used=rank == 1)
    return trained(make(rank, student=student, student_use=NetworkUse(idle_parameters=True)), 3)


def unlike_starts(rank: int) -> list[Tensor]:
    """Weights of a student before its first update, if the workers' students differ."""
    student = parts.network(39 + rank, (3, 4))
    return [
        tensor.clone() for tensor in distiller(rank, student=student).module.state_dict().values()
    ]


def dropped_gradient() -> str:
    pupil = distiller(0)
    pupil.module[-1].register_forward_hook(lambda *_: torch.zeros(3, 3, requires_grad=True))
    try:
        pupil.update(bank("cpu"))
    except RuntimeError as error:
        return str(error)
    return ""


def gloo(rank: int) -> dict[str, Any]:
    """All that is tried in two processes."""
    rate: Any = StudentDistiller.lr
    exact = property(lambda self: in_float32(rate.fget(self)))
    StudentDistiller.lr = exact  # type: ignore[misc,assignment]
    chained_updates.LENGTH = 6  # short, for speed
    found = {
        "plain": trained(distiller(rank)),
        "by hand": trained(by_hand(rank)),
        "captured": report(recorded(rank, {})),
        "second fails": report(recorded(rank, {1: FailingRecorder})),
        "idle": report(recorded(rank, {}, student_use=NetworkUse(idle_parameters=True)), 2),
        "two heads": two_heads(rank, distiller),
        "starts": unlike_starts(rank),
        "dropped": dropped_gradient(),
        "maps": {
            "plain": learned(distiller(rank, stage_maps=1.0)),
            "by hand": learned(by_hand(rank, stage_maps=1.0)),
            "captured": learned(recorded(rank, {}, stage_maps=1.0)),
        },
    }
    group = distiller(rank).workers
    values = [(True, True), (True, False), (False, True), (False, False)]
    found["agree"] = [group.agree(each[rank]) for each in values]
    found["least"] = [group.least(each[rank]) for each in ((3, 2**40), (2**40, 3))]
    return found | {"compiler": "torch._dynamo" in sys.modules}


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


def against_ddp(rank: int) -> dict[str, Any]:
    """Both ways of averaging."""
    return {
        name: {"plain": trained(make(rank)), "two heads": two_heads(rank, make)}
        for name, make in (("ours", distiller), ("ddp", by_ddp))
    }


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


def nccl(rank: int) -> dict[str, Any]:
    """Captured and plain updates of two workers on two GPUs."""
    torch.cuda.set_device(rank)
    torch.backends.cudnn.deterministic = True
    captured = distiller(rank, device="cuda", capture=True)
    found = report(captured)
    captured.release()
    cpu = torch.device("cpu")
    both = {"captured": found, "plain": trained(distiller(rank, device="cuda"))}
    return tree_map(lambda leaf: leaf.to(cpu) if isinstance(leaf, Tensor) else leaf, both)


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
