"""A trainer's copy of the bank; plain Python values replace the bank and the object store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from ray.exceptions import ObjectLostError

from fastdfkd.core.clock import Clock
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.platform.sample_bank import Grant
from fastdfkd.trainers import bank_loader
from fastdfkd.trainers.bank_loader import BankClosed, BankLoader

LOST = "lost"


@dataclass
class Answer:
    """An object reference to a result."""

    value: Any


class Bank:
    """`grant` returns the results of a list."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, int, bool]] = []

    @property
    def grant(self) -> Bank:
        return self

    def remote(self, *question: Any) -> Any:
        self.asked.append(question)
        return Answer(self.answers.pop(0))


@pytest.fixture(autouse=True)
def values_instead_of_references(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(reference: Any) -> Any:
        if isinstance(reference, str) and reference == LOST:
            raise ObjectLostError("0" * 56, None, "")
        return reference.value if isinstance(reference, Answer) else reference

    monkeypatch.setattr(bank_loader.ray, "get", get)
    monkeypatch.setattr(bank_loader.ray, "wait", lambda *_, **__: None)


def batch(value: int) -> np.ndarray:
    return np.full((2, 1, 4, 4), value, np.uint8)


def loader(*answers: Any, capacity: int = 8) -> BankLoader:
    buffer = SampleBuffer(capacity, (1, 4, 4))
    return BankLoader(Bank(*answers), buffer, Clock("cpu"), batch_size=2, leader=True)


def test_a_question_that_was_put_early_is_not_put_again() -> None:
    trainer = loader(Grant(4, [0], [batch(7)]), None, Grant(8, [1], [batch(8)]))
    polls: list[str] = []
    trainer.ask(0)
    assert trainer.advance(0, lambda: polls.append("not yet")) == 4
    trainer.ask(4)
    assert trainer.advance(4, lambda: polls.append("not yet")) == 8
    assert polls == ["not yet"], "the early question was not answered in time"
    assert trainer.bank.asked == [(0, 0, True), (4, 1, True), (4, 1, True)]


def held(loader: BankLoader) -> list[int]:
    return loader.buffer.images[: len(loader.buffer), 0, 0, 0].tolist()


def test_it_takes_in_what_is_new_and_says_what_it_has() -> None:
    ours = loader(Grant(3, [0, 1], [batch(1), batch(2)]), None, Grant(6, [2], [batch(3)]))
    assert ours.advance(0) == 3
    assert ours.advance(3) == 6
    assert ours.bank.asked == [(0, 0, True), (3, 2, True), (3, 2, True)]
    assert held(ours) == [1, 1, 2, 2, 3, 3]
    assert ours.rounds == [0, 1, 2]


@pytest.mark.parametrize("gone", [None, LOST])
def test_others_stand_in_for_images_that_are_gone(gone: Any) -> None:
    ours = loader(Grant(3, [0, 1, 2], [gone, batch(2), batch(3)]), Grant(6, [3], [gone]))
    ours.advance(0)
    ours.advance(3)
    assert held(ours) == [2, 2, 2, 2, 3, 3, 2, 2]
    assert ours.lost == ([0, 3] if gone == LOST else [])


def test_nothing_to_stand_in_is_told() -> None:
    with pytest.raises(RuntimeError, match=r"rounds \[0\] were lost"):
        loader(Grant(3, [0], [LOST])).advance(0)


def test_a_closed_bank_ends_the_training() -> None:
    with pytest.raises(BankClosed, match="diverged"):
        loader(None, "synthesis diverged").advance(0)


def test_the_copy_is_the_buffers_own() -> None:
    images = batch(1)
    ours = loader(Grant(1, [0], [images]))
    ours.advance(0)
    images[:] = 9
    assert torch.equal(ours.buffer.images[:2], torch.ones(2, 1, 4, 4, dtype=torch.uint8))
