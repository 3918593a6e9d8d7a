"""Networks that a teacher or a student may not be, and some that look so and may."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from . import parts


def plain() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, parts.CLASSES))


def with_weights(name: str, value: float) -> nn.Module:
    teacher = parts.teacher()
    teacher.state_dict()[name].reshape(-1)[0] = value
    return teacher


class Wrapped(nn.Module):
    """A teacher whose output is replaced by `change(output)`."""

    def __init__(self, change: Callable[[Tensor], object]):
        super().__init__()
        self.inner, self.change = parts.teacher(), change

    def forward(self, x: Tensor) -> object:
        return self.change(self.inner(x))


class OnlyWhileTraining(Wrapped):
    """Replaces its output in train mode only."""

    def forward(self, x: Tensor) -> object:
        return self.change(self.inner(x)) if self.training else self.inner(x)


class AssertsItsShape(nn.Module):
    """Like torchvision's vision transformers: an assertion about the image size."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        torch._assert(x.shape[2] == 224, "Wrong image height!")
        return self.norm(x)


class ReadsVectors(nn.Module):
    """BatchNorm1d raises a ValueError for images."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class Auxiliary(nn.Module):
    """Its only BatchNorm layer is in a head that is used in train mode only."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.head = plain(), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.main(self.head(x) if self.training else x)
        return logits


class Detached(nn.Module):
    """Its logits have no gradient for the images."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = parts.teacher()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x.detach())
        return logits


class NoGradient(Detached):
    """Its logits have no gradient for the weights either."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


class Counts(Detached):
    """Counts its calls in a buffer, and modifies its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x -= 0.5
        logits: Tensor = self.inner(x)
        return logits


class KeepsItsAnswer(nn.Module):
    """Adds its answer of before, as a recurrent network does that nobody resets."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = parts.teacher()
        self.before: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        if self.before is not None:
            logits = torch.stack((logits, self.before)).sum(0)
        self.before = logits.detach()
        return logits


class ReadsBytes(Detached):
    """Asserts, without a word, that images are bytes."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.dtype is torch.uint8
        return super().forward(x.float())


class Versioned(Detached):
    """Has an entry in its state that is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}

    def set_extra_state(self, state: dict[str, int]) -> None:
        pass


def purposed(problem_type: str) -> nn.Module:
    """With a configuration like that of a `transformers` network."""
    network = parts.teacher()
    network.config = SimpleNamespace(problem_type=problem_type)
    return network


def folding() -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(3, 3, 1).eval(), nn.BatchNorm2d(3).eval()


def scripted(network: nn.Module) -> nn.Module:
    with warnings.catch_warnings(action="ignore"):  # torch.jit is deprecated
        return torch.jit.script(network)  # type: ignore[no-any-return]


def frozen(script: nn.Module) -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        return torch.jit.freeze(script)  # type: ignore[no-any-return]
