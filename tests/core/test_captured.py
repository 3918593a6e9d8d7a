"""Captured steps equal uncaptured ones, with a tape on the CPU and CUDA graphs on a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fastdfkd.core import captured as captured_module
from fastdfkd.core.capture_trial import draws_random_numbers
from fastdfkd.core.captured import WARM_UP, Captured, captured
from fastdfkd.core.chained_updates import LENGTH
from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.methods.fast import FastSynthesizer
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.core.teacher_cache import BATCHES
from fastdfkd.recipe import DistillationSection
from fastdfkd.recipe.methods import GenerativeSection

from . import parts
from .tape import FailingRecorder, TapeRecorder


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The CPU with a tape instead of graphs, or CUDA with graphs."""
    monkeypatch.setitem(captured_module.RECORDERS, "cpu", TapeRecorder)
    with torch.backends.cudnn.flags(deterministic=True):
        yield request.param


def record(step: Callable[..., Any], device: str) -> Captured[Any]:
    recorded = captured(step, device, True)
    assert isinstance(recorded, Captured)
    return recorded


def assert_same(ours: Any, expected: Any) -> None:
    """Every tensor and number: bit for bit on the CPU, within rounding on CUDA."""
    found, wanted = tree_leaves(ours), tree_leaves(expected)
    assert len(found) == len(wanted)
    for mine, other in zip(found, wanted, strict=True):
        if not isinstance(other, Tensor):
            assert mine == pytest.approx(other, rel=1e-3 if torch.cuda.is_available() else 0, abs=0)
        elif other.device.type == "cpu":
            assert torch.equal(mine, other)
        elif other.dtype is torch.uint8:
            assert (mine.int() - other.int()).abs().max() <= 1
        else:
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def test_unless_wanted_a_step_is_itself(device: str) -> None:
    def step() -> None:
        """Nothing."""

    assert captured(step, device, False) is step


def test_on_other_devices_a_step_is_itself() -> None:
    assert captured(parts.task, "cpu", True) is parts.task


def test_each_kind_is_recorded_once_and_every_call_counts(device: str) -> None:
    total, recorded = torch.zeros(3, device=device), []

    def step(sign: int, x: Tensor) -> Tensor:
        recorded.append((sign, len(x)))
        total.add_(sign * x.sum())
        return x * 2

    recording = record(step, device)
    expected = 0.0
    for number in range(WARM_UP + 3):
        for sign, count in ((1, 4), (-1, 4), (1, 5)):
            x = torch.full((count,), float(number), device=device)
            expected += sign * count * number
            assert recording(sign, x).tolist() == [2.0 * number] * count
            assert total.tolist() == [expected] * 3
    assert [recorded.count(kind) for kind in ((1, 4), (-1, 4), (1, 5))] == [WARM_UP + 1] * 3


def test_a_result_is_overwritten_by_the_next_call_and_arguments_are_not_kept(device: str) -> None:
    recording = record(lambda x: x + 1, device)
    x = torch.zeros(2, device=device)
    for _ in range(WARM_UP + 1):
        first = recording(x)
    x += 5
    assert first.tolist() == [1, 1]
    assert recording(x) is first
    assert first.tolist() == [6, 6]


def test_gradients_are_made_anew_in_every_replay(device: str) -> None:
    weight = torch.ones(2, device=device, requires_grad=True)

    def step(x: Tensor) -> None:
        weight.grad = None
        (weight * x).sum().backward()
        with torch.no_grad():
            weight.sub_(weight.grad)  # type: ignore[arg-type]

    recording = record(step, device)
    for number in range(WARM_UP + 3):
        recording(torch.full((2,), float(number), device=device))
    assert weight.tolist() == [1.0 - sum(range(WARM_UP + 3))] * 2


def test_what_python_remembers_is_lost(device: str) -> None:
    """So a step that relies on Python state would fail the comparisons below."""
    calls = []

    def step(x: Tensor) -> Tensor:
        calls.append(0)
        return x + len(calls)

    recording = record(step, device)
    found = [recording(torch.zeros((), device=device)).item() for _ in range(WARM_UP + 3)]
    assert found == [1, 2, 3, 4, 4, 4]


FORBIDDEN: dict[str, Callable[[Tensor], Any]] = {
    "a value": lambda x: x * x.sum().item(),
    "a branch": lambda x: x if x.sum() > 0 else -x,
    "a shape": lambda x: x[x > 0],
    "the host": lambda x: x + torch.tensor([1.0, 2.0]).to(x.device),
    "random": lambda x: x + torch.rand(2, generator=torch.Generator(x.device), device=x.device),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_tape_refuses_what_a_graph_cannot_repeat(what: str) -> None:
    """On the CPU only: on CUDA each would break a capture on a device that others use."""
    recorder = TapeRecorder(torch.device("cpu"))
    with pytest.raises(AssertionError, match="captured step"):
        recorder.record(lambda: FORBIDDEN[what](torch.ones(2)))


def synthesizers(device: str, precision: Any, **changes: Any) -> list[FastSynthesizer]:
    """One with capture and one without."""
    values = {"warmup_rounds": 3, "steps": 4, "reset_after": 2, **changes}
    section = parts.fast_section(**values)
    return [
        parts.fast(section, device=device, precision=precision, capture=capture)
        for capture in (True, False)
    ]


def same_rounds(pair: list[FastSynthesizer], rounds: range) -> list[Any]:
    """Compare rounds of both, with a new student in each; returns results and copies of them."""
    made: list[Any] = []
    for round in rounds:
        student = parts.network(40 + round, (3, 4)).state_dict()
        found = []
        for synthesizer in pair:
            synthesizer.load_student(student, round)
            synthesizer.meta.begin(round)
            batch, update = synthesizer.make(round)
            synthesizer.learn([update])
            found.append((batch.images, dict(batch.provenance.losses), update.tensors))
        made.append((found, copy.deepcopy(found)))
        assert_same(*found)
        assert_same(*(synthesizer.state_dict() for synthesizer in pair))
        assert_same(*(synthesizer.copies.best.first for synthesizer in pair))
    return made


CHANGES: list[dict[str, Any]] = [
    {},
    {"meta": "reptile"},
    {"meta": "sequential"},
    {"meta": "none"},
    {"bn_momentum": 0.0},
    {"bn": 0.0},
    {"adv": 0.0, "flip": False, "invert": True},
]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_captured_synthesis_is_the_same(
    device: str, precision: Any, changes: dict[str, Any]
) -> None:
    """From the first batch (no estimates) through warm-up and a reset; then after a resume."""
    pair = synthesizers(device, precision, **changes)
    made = same_rounds(pair, range(6))
    step: Any = pair[0].step
    estimated = changes.keys().isdisjoint({"bn", "bn_momentum"})
    without_student = changes.get("adv") == 0.0
    assert len(step.recordings) == (3 if estimated else 2) - without_student
    state = copy.deepcopy(pair[1].state_dict())
    for synthesizer in pair:
        synthesizer.load_state_dict(copy.deepcopy(state))
    made += same_rounds(pair, range(6, 8))
    for handed_out, then in made:  # nothing of it has changed since
        assert_same(handed_out, then)


@pytest.mark.usefixtures("exact_rates")
@pytest.mark.parametrize("method", parts.GENERATIVE)
def test_captured_generator_steps_are_the_same(device: str, method: str) -> None:
    """Two steps a round, with warm-up where the method has a loss in it; then after a resume."""
    warmup = 2 if method in ("dafl", "dfq") else 0
    section = parts.generative_section(
        method, rounds=9, warmup_rounds=warmup, generator_steps=2, lr_decay="cosine"
    )
    pair: Any = [
        build_synthesizer(section, parts.task(device=device, capture=capture))
        for capture in (True, False)
    ]
    for round in range(6):
        student = parts.network(40 + round, (3, 4)).state_dict()
        if round == 5:
            state = copy.deepcopy(pair[1].state_dict())
            for synthesizer in pair:
                synthesizer.load_state_dict(copy.deepcopy(state))
        for synthesizer in pair:
            synthesizer.load_student(student, round)
        batches = [synthesizer.synthesize(round) for synthesizer in pair]
        assert_same(batches[0].images, batches[1].images)
        assert_same(*(dict(batch.provenance.losses) for batch in batches))
        assert_same(*(synthesizer.state_dict() for synthesizer in pair))
    assert pair[0].step.recordings


def test_captured_synthesis_starts_anew_from_a_state_without_estimates(device: str) -> None:
    pair = synthesizers(device, "float32")
    same_rounds(pair, range(2))
    for synthesizer in pair:
        synthesizer.load_state_dict({"meta": copy.deepcopy(pair[1].meta.state_dict()), "bn": {}})
    same_rounds(pair, range(2, 5))


def test_captured_synthesis_with_hooks_in_place_of_fused_norms(device: str) -> None:
    pair = []
    for capture in (True, False):
        teacher = parts.teacher()
        teacher.register_forward_hook(lambda *_: None)
        section = parts.fast_section(steps=4)
        pair.append(parts.fast(section, device=device, teacher=teacher, capture=capture))
        assert pair[-1].objective.fused_teacher is pair[-1].objective.teacher
    same_rounds(pair, range(4))


def test_a_captured_batch_that_diverges_says_so(device: str) -> None:
    pair = synthesizers(device, "float32")
    same_rounds(pair, range(3))
    kept = copy.deepcopy(pair[1].state_dict())
    for synthesizer in pair:
        with torch.no_grad():
            synthesizer.meta.generator.project.weight.fill_(float("nan"))
        with pytest.raises(FloatingPointError, match="round 2 diverged"):
            synthesizer.make(2)
        synthesizer.load_state_dict({**synthesizer.state_dict(), "meta": kept["meta"]})
    assert_same(pair[0].state_dict(), kept)
    same_rounds(pair, range(3, 5))


@pytest.fixture
def exact_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning rates exact in float32: a captured step reads them from a float32 tensor."""
    rate: Any = StudentDistiller.lr
    monkeypatch.setattr(StudentDistiller, "lr", property(lambda self: in_float32(rate.fget(self))))
    of_round = GenerativeSection.lr_of
    monkeypatch.setattr(
        GenerativeSection, "lr_of", lambda self, round: in_float32(of_round(self, round))
    )


def in_float32(number: float) -> float:
    return torch.tensor(number, dtype=torch.float32).item()


def distiller(device: str, capture: bool, precision: Any = "float32", **more: Any) -> Any:
    wrap = more.pop("wrap", None)
    values = {"updates_per_round": 2, "batch_size": 6, "lr": 0.02, "crop_padding": 1, **more}
    task = parts.task(device=device, precision=precision, capture=capture)
    return StudentDistiller(DistillationSection(**values), task, total_updates=40, wrap=wrap)


def bank(device: str) -> SampleBuffer:
    held = SampleBuffer(20, parts.IMAGE_SHAPE, device)
    randomness = torch.Generator().manual_seed(4)
    shape = (20, *parts.IMAGE_SHAPE)
    held.extend(torch.randint(0, 256, shape, dtype=torch.uint8, generator=randomness))
    return held


def same_updates(pair: list[StudentDistiller], images: SampleBuffer, count: int) -> None:
    losses = [[pupil.update(images) for _ in range(count)] for pupil in pair]
    assert_same(*losses)
    assert_same(*(pupil.state_dict() for pupil in pair))


@pytest.mark.usefixtures("exact_rates")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({}, 1),
        ({"teacher_cache": 2}, 2),
        ({"momentum": 0.0, "warmup_updates": 7, "invert": True}, 1),
        ({"loss": "l1", "attention": 2.0}, 1),
    ],
    ids=str,
)
def test_captured_updates_are_the_same(
    device: str, precision: Any, changes: dict[str, Any], kinds: int
) -> None:
    """Over several learning rates, while the cache fills, and after loading a state."""
    pair = [distiller(device, capture, precision, **changes) for capture in (True, False)]
    images = bank(device)
    same_updates(pair, images, BATCHES + 6)
    assert len(pair[0].ask.recordings) == kinds
    assert len(pair[0].follow.recordings) == 1
    other = distiller(device, False, precision, **changes)
    for _ in range(BATCHES + 2):
        other.update(images)
    for pupil in pair:
        pupil.load_state_dict(copy.deepcopy(other.state_dict()))
    same_updates(pair, images, 4)


@pytest.mark.usefixtures("exact_rates")
def test_synthesis_that_cannot_be_recorded_is_that_without_graphs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of the recordings that failed, such as gradients, is in the images."""
    monkeypatch.setitem(captured_module.RECORDERS, "cpu", TapeRecorder)
    makers = [
        lambda capture: synthesizers("cpu", "float32")[not capture],
        *(
            lambda capture, method=method: build_synthesizer(
                parts.generative_section(method, rounds=9, generator_steps=4),
                parts.task(device="cpu", capture=capture),
            )
            for method in ("dafl",)
        ),
    ]
    for make in makers:
        failing, plain = make(True), make(False)
        failing.step.recorder = FailingRecorder(torch.device("cpu"))
        for round in range(2):
            batches = [each.synthesize(round) for each in (failing, plain)]
            assert_same(batches[0].images, batches[1].images)
            assert_same(failing.state_dict(), plain.state_dict())
        (note,) = failing.notes
        assert "runs without cuda_graphs (no memory left)" in note
        assert plain.notes == []


@pytest.mark.usefixtures("exact_rates")
def test_updates_that_cannot_be_recorded_are_those_without_graphs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(captured_module.RECORDERS, "cpu", FailingRecorder)
    pair = [distiller("cpu", False) for _ in range(2)]
    for name in ("ask", "follow"):
        step = getattr(pair[0], name)
        setattr(pair[0], name, Captured(step, FailingRecorder(torch.device("cpu"))))
    same_updates(pair, bank("cpu"), WARM_UP + 3)
    assert not pair[0].captures
    assert len(pair[0].notes) == 2


def test_a_released_role_records_anew_and_stays_the_same(device: str) -> None:
    pair = synthesizers(device, "float32")
    same_rounds(pair, range(2))
    pair[0].release()
    assert not pair[0].step.recordings  # type: ignore[attr-defined]
    same_rounds(pair, range(2, 5))
    assert pair[0].step.recordings  # type: ignore[attr-defined]


@pytest.mark.usefixtures("exact_rates")
@pytest.mark.parametrize(
    "changes",
    [{}, {"momentum": 0.0, "warmup_updates": 7, "invert": True}, {"attention": 2.0, "mixup": 0.5}],
)
def test_chained_updates_are_single_ones(device: str, changes: dict[str, Any]) -> None:
    """Over several learning rates, with single updates between, and while the bank changes."""
    pair = [distiller(device, capture, **changes) for capture in (True, False)]
    held = bank(device)
    for count in (2, LENGTH * (WARM_UP + 2) + 3, 1, 2 * LENGTH):
        losses = [pupil.update_many(held, count) for pupil in pair]
        assert losses[0].shape == (count,)
        assert_same(*losses)
        assert_same(*(pupil.state_dict() for pupil in pair))
        held.extend(held.first(20).flip(0))
    assert len(pair[0].chain.step.recordings) == 1
    pair[0].release()
    assert not pair[0].chain.step.recordings


@pytest.mark.parametrize("changes", [{"teacher_cache": 2}, {"wrap": lambda student: student}])
def test_what_cannot_be_chained_is_made_in_single_updates(
    device: str, changes: dict[str, Any]
) -> None:
    pair = [distiller(device, capture, **changes) for capture in (True, False)]
    held = bank(device)
    assert_same(*(pupil.update_many(held, 2 * LENGTH) for pupil in pair))
    assert not pair[0].chain.fits(LENGTH)


def test_students_with_dropout_are_known() -> None:
    use, shape = NetworkUse(), parts.IMAGE_SHAPE
    plain = parts.network(3, (3, 4))
    assert not draws_random_numbers(plain, use, shape)
    assert draws_random_numbers(nn.Sequential(nn.Dropout(0.5), plain), use, shape)


def test_a_wrapped_student_is_not_captured(device: str) -> None:
    pair = [distiller(device, capture, wrap=lambda student: student) for capture in (True, False)]
    assert pair[0].captures
    assert "several workers" in pair[0].notes[0]
    assert pair[1].notes == []
    same_updates(pair, bank(device), WARM_UP + 3)
    assert len(pair[0].ask.recordings) == 1
    assert not isinstance(pair[0].follow, Captured)
    assert isinstance(pair[0].optimizer.lr, float)
