from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastdfkd.core import losses

from . import naive

FILE = Path(__file__).parents[1] / "golden" / "losses.json"
settings.load_profile("core")
pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


@pytest.fixture
def logits(golden: dict[str, Any]) -> tuple[Tensor, Tensor]:
    weights = (golden["teacher_weights"], golden["student_weights"])
    return tuple(torch.tensor(w, dtype=torch.float64).log() for w in weights)  # type: ignore[return-value]


def random_logits(seed: int, rows: int = 7, classes: int = 4) -> tuple[Tensor, Tensor]:
    randomness = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, rows, classes, generator=randomness, dtype=torch.float64) * 2
    return pair[0], pair[1]


def test_values_computed_by_hand(golden: dict[str, Any], logits: tuple[Tensor, Tensor]) -> None:
    labels = torch.tensor(golden["labels"])
    image = torch.tensor(golden["total_variation_image"], dtype=torch.float64)[None, None]
    close = pytest.approx
    assert losses.kl_divergence(*logits).tolist() == close(golden["kl"], abs=1e-8)
    assert losses.one_hot_loss(logits[0], labels).item() == close(golden["one_hot"], abs=1e-8)
    assert losses.adversarial_loss(*logits).item() == close(golden["adversarial"], abs=1e-8)
    js = losses.jensen_shannon_adversarial_loss(*logits, 1.0).item()
    assert js == close(golden["jensen_shannon_temperature_1"], abs=1e-8)
    kd = losses.distillation_loss(*logits, 2.0).item()
    assert kd == close(golden["distillation_temperature_2"], abs=1e-8)
    assert losses.total_variation(image).item() == close(golden["total_variation"], abs=1e-8)


def test_the_direction_of_the_divergence(logits: tuple[Tensor, Tensor]) -> None:
    """KL(T || S) weighs by T: a class that T excludes costs 0, one that S excludes costs much."""
    teacher = torch.tensor([[0.0, -40.0]])
    student = torch.tensor([[0.0, 0.0]])
    assert losses.kl_divergence(teacher, student).item() == pytest.approx(math.log(2))
    assert losses.kl_divergence(student, teacher).item() == pytest.approx(20 - math.log(2))


PAIRS: list[tuple[Callable[..., Tensor], Callable[..., Tensor]]] = [
    (losses.adversarial_loss, naive.masked_adversarial),
    (
        losses.jensen_shannon_adversarial_loss,
        lambda t, s: -naive.jensen_shannon(t, s, 3.0),
    ),
    (
        lambda t, s: losses.distillation_loss(t, s, 20.0),
        lambda t, s: 400 * naive.kl(t, s, 20.0).mean(),
    ),
    (lambda t, s: losses.kl_divergence(t, s, 1.5).sum(), lambda t, s: naive.kl(t, s, 1.5).sum()),
    (
        lambda t, s: losses.one_hot_loss(t, torch.arange(7) % 4) + 0 * s.sum(),
        lambda t, s: naive.cross_entropy(t, torch.arange(7) % 4) + 0 * s.sum(),
    ),
]


@pytest.mark.parametrize(
    ("loss", "reference"), PAIRS, ids=["adv", "js", "distillation", "kl", "one-hot"]
)
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradients_of_the_formula(
    loss: Callable[..., Tensor], reference: Callable[..., Tensor], seed: int
) -> None:
    values = []
    for function in (loss, reference):
        inputs = [x.clone().requires_grad_() for x in random_logits(seed)]
        value = function(*inputs)
        values.append((value, *torch.autograd.grad(value, inputs)))
    for ours, expected in zip(*values, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-13)


def rows(maps: Tensor) -> Tensor:
    """(B, K, *space) as (positions, K), or labels (B, *space) as (positions,)."""
    return maps.movedim(1, -1).flatten(0, -2)


@pytest.mark.parametrize(("loss", "reference"), PAIRS[:4], ids=["adv", "js", "distillation", "kl"])
@given(
    seed=st.integers(0, 10_000),
    batch=st.integers(1, 3),
    classes=st.integers(2, 5),
    space=st.sampled_from([(), (1,), (4,), (1, 1), (2, 3), (3, 2)]),
)
def test_a_loss_of_maps_is_the_formula_over_all_positions(
    loss: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    seed: int,
    batch: int,
    classes: int,
    space: tuple[int, ...],
) -> None:
    randomness = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, batch, classes, *space, generator=randomness, dtype=torch.float64) * 2
    values = []
    for function, view in ((loss, lambda x: x), (reference, rows)):
        inputs = [x.clone().requires_grad_() for x in pair]
        value = function(*map(view, inputs))
        values.append((value, *torch.autograd.grad(value, inputs)))
    for ours, expected in zip(*values, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


@given(seed=st.integers(0, 10_000), void=st.sampled_from([None, 1, 255]))
def test_one_hot_loss_of_maps_leaves_void_out(seed: int, void: int | None) -> None:
    randomness = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 2, 4, generator=randomness, dtype=torch.float64).requires_grad_()
    labels = torch.randint(3, (2, 2, 4), generator=randomness)
    if void is not None:
        labels[:, 0, :2] = void
    labels[0, 1, 1] = 0  # so that not all is void
    kept = torch.ones_like(labels, dtype=torch.bool) if void is None else labels != void
    ours_and_by_hand = (
        losses.one_hot_loss(logits, labels, void),
        naive.cross_entropy(logits.movedim(1, -1)[kept], labels[kept]),
    )
    values = [(value, *torch.autograd.grad(value, [logits])) for value in ours_and_by_hand]
    for ours, expected in zip(*values, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


def test_adversarial_gradient_is_zero_where_the_networks_disagree() -> None:
    teacher, student = random_logits(0)
    agree = teacher.argmax(1) == student.argmax(1)
    assert 0 < int(agree.sum()) < len(agree)
    teacher.requires_grad_()
    losses.adversarial_loss(teacher, student).backward()
    assert teacher.grad is not None
    assert ((teacher.grad.abs().sum(1) > 0) == agree).all()


@given(seed=st.integers(0, 10_000), scale=st.floats(0, 300), temperature=st.floats(0.5, 20))
def test_jensen_shannon_is_bounded_and_symmetric(
    seed: int, scale: float, temperature: float
) -> None:
    teacher, student = (scale * x for x in random_logits(seed, rows=3))
    value = losses.jensen_shannon_adversarial_loss(teacher, student, temperature).item()
    swapped = losses.jensen_shannon_adversarial_loss(student, teacher, temperature).item()
    assert -math.log(2) - 1e-9 <= value <= 1e-12
    assert value == pytest.approx(swapped, abs=1e-12)


def test_jensen_shannon_reaches_its_bounds() -> None:
    same = torch.tensor([[3.0, 1.0]])
    assert losses.jensen_shannon_adversarial_loss(same, same).item() == pytest.approx(0, abs=1e-15)
    far = losses.jensen_shannon_adversarial_loss(
        torch.tensor([[900.0, 0.0]]), torch.tensor([[0.0, 900.0]])
    )
    assert far.item() == pytest.approx(-math.log(2))


def test_distillation_gradient_keeps_its_size_when_the_temperature_grows() -> None:
    """Hinton's T^2: for large T the gradient tends to the difference of centred logits / K."""
    teacher, student = random_logits(5)
    student.requires_grad_()
    losses.distillation_loss(teacher, student, 1e6).backward()
    centred = [x.detach() - x.detach().mean(1, keepdim=True) for x in (student, teacher)]
    expected = (centred[0] - centred[1]) / 4 / 7
    assert student.grad is not None
    torch.testing.assert_close(student.grad, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 3, 3)])
def test_total_variation_pixel_by_pixel(shape: tuple[int, ...]) -> None:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    ours, expected = losses.total_variation(images), naive.total_variation(images)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-13)
    gradients = [torch.autograd.grad(value, images)[0] for value in (ours, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-14)


def test_a_constant_image_has_no_total_variation() -> None:
    images = torch.full((2, 3, 4, 4), 0.7, requires_grad=True)
    value = losses.total_variation(images)
    value.backward()
    assert value.item() == 0
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()


@pytest.mark.parametrize(
    "loss",
    [
        losses.adversarial_loss,
        losses.jensen_shannon_adversarial_loss,
        lambda teacher, student: losses.distillation_loss(teacher, student, 1.0),
    ],
)
def test_gradients_where_a_share_underflows(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Shares of a sure teacher are exactly 0 in float32, and not in float64."""
    teacher = torch.tensor([[600.0, 0.0, 100.0], [0.0, 500.0, 1.0]])
    student = torch.tensor([[2.0, 1.0, 0.0], [1.0, 2.0, 400.0]])
    assert (teacher.float().softmax(1) == 0).any()
    assert (teacher.softmax(1) != 0).all()
    found = []
    for dtype in (torch.float32, torch.float64):
        pair = [each.to(dtype).requires_grad_() for each in (teacher, student)]
        found.append(torch.cat(torch.autograd.grad(loss(*pair), pair)).double())
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)
