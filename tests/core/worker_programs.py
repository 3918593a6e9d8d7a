"""What each of two workers that train together is asked to do, in a process of its own."""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.utils._pytree import tree_map

from fastdfkd.core import captured as captured_module
from fastdfkd.core import chained_updates
from fastdfkd.core.captured import WARM_UP, Captured
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.recipe import DistillationSection

from . import parts
from .replays import in_float32
from .tape import FailingRecorder, TapeRecorder
from .test_captured_updates import bank


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


def against_ddp(rank: int) -> dict[str, Any]:
    """Both ways of averaging."""
    return {
        name: {"plain": trained(make(rank)), "two heads": two_heads(rank, make)}
        for name, make in (("ours", distiller), ("ddp", by_ddp))
    }


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
