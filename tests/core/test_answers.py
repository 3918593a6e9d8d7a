"""Logits are found in outputs of every form; outputs without logits are refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from fastdfkd.core.answers import SlicedOutput, logits_in, looks_like, output_of
from fastdfkd.recipe import TeacherSection

LOGITS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])

WRAPPED: list[Any] = [
    LOGITS,
    (LOGITS,),
    (LOGITS, None),
    [LOGITS, "more"],
    ((LOGITS, 1), 2),
    {"logits": LOGITS, "loss": None},
    {"out": LOGITS},
    {"logits": (LOGITS,)},
    SimpleNamespace(logits=LOGITS),
    LOGITS[:, :, None, None],
]


@pytest.mark.parametrize("answer", WRAPPED, ids=range(len(WRAPPED)))
def test_logits_are_found_in_every_wrapping(answer: Any) -> None:
    assert torch.equal(logits_in(answer), LOGITS)


def test_a_batch_that_was_squeezed_away_is_back() -> None:
    assert torch.equal(logits_in(LOGITS[0]), LOGITS[:1])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((), "in a tuple"),
        (None, "in a NoneType"),
        ("logits", "in a str"),
        ({}, "keys: none"),
        ({"boxes": LOGITS, "scores": LOGITS}, "keys: boxes, scores"),
        ([[]], "in a list"),
    ],
)
def test_what_holds_no_tensor_says_what_it_is(answer: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        logits_in(answer)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_probabilities_become_logits_of_the_same_distribution(dtype: torch.dtype) -> None:
    rows = LOGITS.to(dtype)
    close = {"rtol": 0.0, "atol": 2e-2 if dtype is torch.bfloat16 else 1e-6}
    expected = LOGITS.softmax(1).double()
    for output, answer in (
        ("probabilities", rows.softmax(1)),
        ("log_probabilities", rows.log_softmax(1)),
    ):
        found = logits_in(answer, output).softmax(1).double()  # type: ignore[arg-type]
        torch.testing.assert_close(found, expected, **close)  # type: ignore[arg-type]


def test_a_probability_of_zero_has_a_gradient() -> None:
    answer = torch.tensor([[1.0, 0.0]], requires_grad=True)
    logits_in(answer, "probabilities").sum().backward()  # type: ignore[no-untyped-call]
    assert answer.grad is not None
    assert torch.isfinite(answer.grad).all()


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 1, 1, 1)])
def test_one_number_is_the_second_of_two_classes(shape: tuple[int, ...]) -> None:
    number = torch.tensor([-2.0, 0.0, 1.0, 5.0])
    expected = torch.stack([1 - number.sigmoid(), number.sigmoid()], 1)
    for output, answer in (("binary_logit", number), ("binary_probability", number.sigmoid())):
        found = logits_in(answer.reshape(shape), output).softmax(1)  # type: ignore[arg-type]
        torch.testing.assert_close(found, expected)


MAPS = torch.randn(2, 3, 4, 1, generator=torch.Generator().manual_seed(0))
"""(B, K, H, W) with W = 1, an axis that must stay."""


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (MAPS, MAPS),
        (MAPS[0], MAPS[:1]),
        (MAPS[..., None], MAPS),
        ({"out": MAPS, "aux": -MAPS}, MAPS),
    ],
    ids=["maps", "one image", "an axis more", "torchvision"],
)
def test_maps_of_logits(answer: object, expected: Tensor) -> None:
    assert torch.equal(logits_in(answer, "logits", 2), expected)


@pytest.mark.parametrize("shape", [(2, 4, 3), (2, 1, 4, 3)])
def test_one_number_a_pixel_is_the_second_of_two_classes(shape: tuple[int, ...]) -> None:
    number = random_logits()[:, :3].reshape(2, 4, 3)
    expected = torch.stack([1 - number.sigmoid(), number.sigmoid()], 1)
    found = logits_in(number.reshape(shape), "binary_logit", 2)
    torch.testing.assert_close(found.softmax(1), expected)


def random_logits(seed: int = 0) -> Tensor:
    return 3 * torch.randn(8, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (random_logits(), None),
        (random_logits() * 1e-3, None),
        (random_logits().relu(), None),
        (torch.zeros(8, 5), None),
        (torch.full((8, 5), torch.nan), None),
        (random_logits().softmax(1), "probabilities"),
        (torch.eye(5), "probabilities"),
        (random_logits().log_softmax(1), "log_probabilities"),
        (random_logits().sigmoid(), "sigmoid"),
    ],
)
def test_values_show_what_they_are(answer: Tensor, found: str | None) -> None:
    assert looks_like([answer]) == found
    maps = answer.reshape(-1, 1, *answer.shape[1:]).movedim(-1, 1)  # (B, K, 1) and more positions
    assert looks_like([maps.expand(-1, -1, 2)]) == found


def test_a_slice_of_the_outputs_is_the_classes() -> None:
    assert torch.equal(logits_in({"logits": LOGITS}, SlicedOutput("logits", 1, 3)), LOGITS[:, 1:])
    shares = logits_in(LOGITS.softmax(1), SlicedOutput("probabilities", 0, 2)).softmax(1)
    torch.testing.assert_close(shares, LOGITS[:, :2].softmax(1))
    maps = LOGITS[:, :, None, None].expand(2, 3, 4, 5)
    assert logits_in(maps, SlicedOutput("logits", 1, 3), 2).shape == (2, 2, 4, 5)


def test_a_section_declares_its_output() -> None:
    section = TeacherSection(model="resnet8", output="log_probabilities")
    assert output_of(section) == "log_probabilities"
    sliced = section.model_copy(update={"output_slice": (1, 1001)})
    assert output_of(sliced) == SlicedOutput("log_probabilities", 1, 1001)
