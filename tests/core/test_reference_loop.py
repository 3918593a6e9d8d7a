"""Five rounds of the whole method against an independent formulation."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fastdfkd.core.augment import Augmentation
from fastdfkd.core.clock import Clock
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.interfaces import SampleBank
from fastdfkd.core.random_streams import stream
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.core.sample_buffer import SampleBuffer

from . import naive, parts
from .student_parts import distillation, distiller, drawn, naive_distiller

TRACE = Path(__file__).parents[1] / "golden" / "trace.json"


class Recorded:
    """A distiller that records the loss and learning rate of each update."""

    def __init__(self, inner: StudentDistiller):
        self.inner, self.losses, self.rates = inner, list[float](), list[float]()

    def update(self, bank: SampleBank) -> Tensor:
        self.rates.append(self.inner.lr)
        loss = self.inner.update(bank)
        self.losses.append(loss.item())
        return loss

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def checksum(tensors: Any) -> float:
    """A sum with signs and sizes that differ from element to element."""
    flat = torch.cat([t.detach().double().reshape(-1) for t in tensors])
    return float((flat * torch.cos(torch.arange(len(flat), dtype=torch.float64))).sum())


def naive_trace() -> dict[str, list[float]]:
    """Five rounds, the first of them warm-up, three student updates a round."""
    synthesis, section = parts.fast_section(rounds=5), distillation()
    pupil = naive_distiller(section, rounds=4)
    maker = parts.naive_fast(parts.fast(synthesis), synthesis)
    trace: dict[str, list[float]] = {"losses": [], "rates": [], "student": [], "theta": []}
    held = torch.zeros(0, *parts.IMAGE_SHAPE, dtype=torch.uint8)
    for round in range(5):
        maker.objective.student = copy.deepcopy(pupil.student).eval()
        randomness = stream(parts.SEED, "synthesis", round)
        count = synthesis.batch_size
        z = torch.randn(count, synthesis.latent_dim, generator=randomness)
        labels = torch.randint(parts.CLASSES, (count,), generator=randomness)
        moves = [
            Augmentation.draw(
                count, synthesis.crop_padding, synthesis.flip, synthesis.invert, randomness
            )
            for _ in range(synthesis.steps)
        ]
        inner = maker.inner_loop(z, labels, moves, round >= 1)
        maker.learn(inner)
        held = torch.cat([held, naive.to_uint8(inner.images[inner.best])])
        if round >= 1:
            for _ in range(3):
                trace["rates"].append(pupil.holder.param_groups[0]["lr"])
                batch = drawn(section, held, len(trace["losses"]))
                trace["losses"].append(pupil.update(*batch))
            pupil.end_round()
        trace["student"].append(checksum(pupil.student.state_dict().values()))
        trace["theta"].append(checksum(maker.theta.parameters()))
    return trace


def our_trace() -> dict[str, list[float]]:
    synthesis, section = parts.fast_section(rounds=5), distillation()
    synthesizer, pupil = parts.fast(synthesis), Recorded(distiller(section))
    bank = SampleBuffer(5 * synthesis.batch_size, parts.IMAGE_SHAPE)
    checks: dict[str, list[float]] = {"student": [], "theta": []}

    def on_round(_round: int, _clock: Clock) -> None:
        checks["student"].append(checksum(pupil.student_state().values()))
        checks["theta"].append(checksum(synthesizer.meta.generator.parameters()))

    reference_loop(synthesizer, bank, pupil, synthesis, section, on_round=on_round)
    return {"losses": pupil.losses, "rates": pupil.rates, **checks}


def assert_traces_close(ours: Any, expected: Any, rel: float) -> None:
    assert ours.keys() == expected.keys()
    for name, values in expected.items():
        assert ours[name] == pytest.approx(values, rel=rel, abs=rel), name


@pytest.mark.usefixtures("float64")
def test_five_rounds_equal_the_formulation() -> None:
    """Losses are float32 in the distiller; everything else is float64 on both sides."""
    expected = naive_trace()
    assert len(expected["losses"]) == 12
    assert_traces_close(our_trace(), expected, 2e-5)


@pytest.mark.usefixtures("float64")
def test_the_formulation_is_the_one_on_file() -> None:
    """Pins the naive loop itself: a change of both sides at once would show here.

    `golden/trace.json` was written by `naive_trace`, never by the code under test.
    """
    expected = json.loads(TRACE.read_text(encoding="utf-8"))
    assert_traces_close(naive_trace(), expected["trace"], 1e-6)


def test_five_rounds_in_float32_learn_alike_twice() -> None:
    assert our_trace() == our_trace()


def test_calls_come_in_the_papers_order() -> None:
    """Warm-up rounds only fill the bank; each round begins with the student's weights."""
    calls: list[Any] = []

    class Pupil:
        updates = 0

        def update(self, bank: SampleBank) -> Tensor:
            calls.append(("update", len(bank)))
            return torch.zeros(())

        def student_state(self) -> dict[str, Tensor]:
            return {}

    class Maker:
        def load_student(self, state: dict[str, Tensor], version: int) -> None:
            calls.append(("student", version))

        def synthesize(self, round: int) -> int:
            calls.append(("synthesize", round))
            return round

    class Bank:
        held = 0

        def insert(self, batch: int) -> None:
            calls.append(("insert", batch))
            self.held += 1

        def __len__(self) -> int:
            return self.held

    synthesis = parts.fast_section(rounds=4, warmup_rounds=2)
    pieces: tuple[Any, Any, Any] = (Maker(), Bank(), Pupil())
    clock = reference_loop(*pieces, synthesis, distillation(updates_per_round=2))
    expected = []
    for round, version in enumerate((0, 0, 0, 1)):
        expected += [("student", version), ("synthesize", round), ("insert", round)]
        expected += [("update", round + 1)] * (2 if round >= 2 else 0)
    assert calls == expected
    assert set(clock.seconds) == {"synthesis", "storage", "distillation"}
