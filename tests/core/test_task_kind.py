"""Labels and figures of each kind against plain loops, and both kinds through the algorithm."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastdfkd.core.distillation import StudentDistiller
from fastdfkd.core.methods import build_synthesizer
from fastdfkd.core.methods.objective import InversionObjective
from fastdfkd.core.network_trial import find_network_use
from fastdfkd.core.network_use import NetworkUse
from fastdfkd.core.reference_loop import reference_loop
from fastdfkd.core.sample_buffer import SampleBuffer
from fastdfkd.core.task import Task
from fastdfkd.core.task_kind import Classification, Segmentation, TaskKind, draw_classes
from fastdfkd.recipe import DistillationSection

from . import naive, parts

settings.load_profile("core")
VOID = 255
SEED = st.integers(0, 10_000)
KINDS: list[tuple[TaskKind, tuple[int, ...]]] = [(Classification(4), ()), (Segmentation(4), (5, 6))]


def integer_logits(seed: int, *shape: int) -> Tensor:
    """Few different values, so that ties are common."""
    return torch.randint(4, shape, generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize(("kind", "space"), KINDS, ids=["classification", "segmentation"])
@pytest.mark.parametrize("balanced", [False, True])
def test_shapes_of_labels_and_logits(
    kind: TaskKind, space: tuple[int, ...], balanced: bool
) -> None:
    labels = kind.draw_labels(3, (1, 5, 6), balanced, torch.Generator().manual_seed(0))
    assert labels.dtype is torch.int64
    assert labels.shape == (3, *space)
    assert kind.logits_shape(3, (1, 5, 6)) == (3, 4, *space)
    assert kind.one_hot_loss(torch.zeros(3, 4, *space), labels).item() == pytest.approx(math.log(4))


def test_the_classes_left_over_are_drawn_by_chance() -> None:
    randomness = torch.Generator().manual_seed(0)
    total = sum(
        torch.bincount(draw_classes(4, 3, True, randomness), minlength=3) for _ in range(300)
    )
    assert isinstance(total, Tensor)
    # Each class is the extra one 100 times of 300; five standard deviations are 41.
    assert (total - 400).abs().max() < 41


def test_uniform_classes_are_uniform() -> None:
    labels = draw_classes(9000, 3, False, torch.Generator().manual_seed(0))
    # 3000 each; five standard deviations of the binomial are 224.
    assert (torch.bincount(labels, minlength=3) - 3000).abs().max() < 224


def test_balanced_maps_hold_each_class_equally_often_in_no_order() -> None:
    labels = Segmentation(4).draw_labels(8, (3, 8, 8), True, torch.Generator().manual_seed(0))
    assert torch.bincount(labels.flatten()).tolist() == [128] * 4
    alike = (labels[:, :, :4] == labels[:, :, 4:]).double().mean()  # of 256 pairs, a quarter
    assert abs(alike - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 256)


@given(seed=SEED, batch=st.integers(1, 6), classes=st.integers(2, 12))
def test_top_1_and_top_5_by_hand(seed: int, batch: int, classes: int) -> None:
    kind, logits = Classification(classes), integer_logits(seed, batch, classes)
    labels = torch.randint(classes, (batch,), generator=torch.Generator().manual_seed(seed))
    first = fifth = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        best = sorted(range(classes), key=lambda k: (-row[k], k))
        first += best[0] == label
        fifth += label in best[:5]
    expected = {"accuracy": first / batch}
    if classes > 5:
        expected["top5_accuracy"] = fifth / batch
    assert kind.figures_of(kind.counts(logits, labels)) == expected
    assert list(kind.figures) == list(expected)
    right = (logits.argmax(1) == labels).double().mean().item()
    assert expected["accuracy"] == right, "top-1 is the argmax"


def figures_by_hand(logits: Tensor, labels: Tensor, classes: int) -> dict[str, float]:
    """Pixel by pixel, without a confusion matrix."""
    pixels = [
        (int(labels[i, y, x]), int(logits[i, :, y, x].argmax()))
        for i in range(labels.shape[0])
        for y in range(labels.shape[1])
        for x in range(labels.shape[2])
        if labels[i, y, x] != VOID
    ]
    ious = []
    for k in range(classes):
        union = [pair for pair in pixels if k in pair]
        if union:
            ious.append(sum(pair == (k, k) for pair in union) / len(union))
    right = sum(label == predicted for label, predicted in pixels)
    return {
        "mean_iou": sum(ious) / len(ious) if ious else math.nan,
        "pixel_accuracy": right / len(pixels) if pixels else math.nan,
    }


@given(
    seed=SEED,
    classes=st.sampled_from([2, 3, 13, 40]),
    void=st.sampled_from([0.0, 0.3, 1.0]),
    dtype=st.sampled_from([torch.int64, torch.uint8]),
)
def test_mean_iou_and_pixel_accuracy_by_hand(
    seed: int, classes: int, void: float, dtype: torch.dtype
) -> None:
    kind, randomness = Segmentation(classes), torch.Generator().manual_seed(seed)
    logits = integer_logits(seed, 3, classes, 2, 4)
    labels = torch.randint(classes, (3, 2, 4), generator=randomness)
    labels[torch.rand(labels.shape, generator=randomness) < void] = VOID
    labels = labels.to(dtype)
    expected = figures_by_hand(logits, labels, classes)
    counts = kind.counts(logits, labels)
    assert kind.figures_of(counts) == pytest.approx(expected, nan_ok=True)
    assert list(kind.figures) == list(expected)
    parts_of_it = [kind.counts(logits[i : i + 1], labels[i : i + 1]) for i in range(3)]
    assert torch.equal(torch.stack(parts_of_it).sum(0), counts), "counts of batches add up"


def test_an_absent_class_has_no_iou() -> None:
    confusion = torch.tensor([[3, 1, 0], [0, 0, 0], [0, 0, 0]])
    ious = Segmentation(3).class_ious(confusion)
    assert ious[:2].tolist() == [0.75, 0.0], "class 1 is not there but was answered once"
    assert ious[2].isnan()
    assert Segmentation(3).figures_of(confusion)["mean_iou"] == 0.375


KIND = Segmentation(parts.CLASSES)


def segmentation_task() -> Task:
    teacher, student = parts.segmenter(1), parts.segmenter(2, width=4)
    uses = {
        f"{role}_use": find_network_use(
            network, parts.IMAGE_SHAPE, spatial_axes=2, student=role == "student"
        )
        for role, network in (("teacher", teacher), ("student", student))
    }
    values: dict[str, Any] = {"teacher": teacher, "student": student, "kind": KIND, **uses}
    return parts.task(**values)


def test_the_objective_of_maps_is_the_formula_over_all_pixels() -> None:
    task = segmentation_task()
    objective = InversionObjective(task, (0.0, 1.0, 1.0), KIND.adversarial_loss)
    randomness = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, *parts.IMAGE_SHAPE, generator=randomness)
    labels = KIND.draw_labels(2, parts.IMAGE_SHAPE, False, randomness)
    with objective.batch():
        _, _, oh, adv = objective(inputs, labels, True)
    said = [
        network.double()(inputs.double()).movedim(1, -1).flatten(0, -2)
        for network in (parts.segmenter(1), parts.segmenter(2, width=4))
    ]
    assert oh.item() == pytest.approx(naive.cross_entropy(said[0], labels.flatten()).item())
    assert adv.item() == pytest.approx(naive.masked_adversarial(*said).item(), rel=1e-5)


@pytest.mark.parametrize("method", ["fast", "deep"])
def test_a_student_learns_to_segment_like_its_teacher(method: str) -> None:
    task = segmentation_task()
    assert task.teacher_use == NetworkUse(spatial_axes=2), "no change had to be left out"
    synthesis = getattr(parts, f"{method}_section")(rounds=3, balanced_labels=True)
    distillation = DistillationSection(
        batch_size=8, updates_per_round=40, lr=0.3, temperature=1.0, crop_padding=1, min_lr=0.01
    )
    synthesizer = build_synthesizer(synthesis, task)
    distiller = StudentDistiller(distillation, task, total_updates=80)
    bank = SampleBuffer(3 * synthesis.batch_size, parts.IMAGE_SHAPE)
    noise = torch.randn(64, *parts.IMAGE_SHAPE, generator=torch.Generator().manual_seed(1))

    def agreement() -> float:
        with torch.no_grad():
            said = [network.eval()(noise).argmax(1) for network in (task.teacher, distiller.module)]
        return (said[0] == said[1]).double().mean().item()

    before = agreement()
    reference_loop(synthesizer, bank, distiller, synthesis, distillation)
    assert synthesizer.make(3)[0].labels.shape == (synthesis.batch_size, *parts.IMAGE_SHAPE[1:])
    assert agreement() > before + 0.1, (before, agreement())
