"""Labels that are balanced over rounds."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from fastdfkd.core.class_passes import classes_of_round
from fastdfkd.core.task_kind import Segmentation
from fastdfkd.recipe import FastSynthesis

from . import parts


@pytest.mark.parametrize(("count", "classes"), [(100, 1000), (7, 10), (10, 10), (25, 10)])
def test_no_class_comes_again_before_all_have_come(count: int, classes: int) -> None:
    rounds = [classes_of_round(3, round, count, classes) for round in range(30)]
    assert all(len(labels) == count for labels in rounds)
    labels = torch.cat(rounds).tolist()
    for end in range(1, len(labels) + 1, 13):
        counts = Counter({n: 0 for n in range(classes)}) + Counter()
        counts.update(labels[:end])
        every = [counts.get(n, 0) for n in range(classes)]
        assert max(every) - min(every) <= 1


def test_orders_differ_between_passes_and_seeds() -> None:
    first, second = classes_of_round(3, 0, 50, 50), classes_of_round(3, 1, 50, 50)
    assert not torch.equal(first, second)
    assert not torch.equal(first, classes_of_round(4, 0, 50, 50))
    assert torch.equal(first, classes_of_round(3, 0, 50, 50))


def test_a_synthesizer_takes_them_and_repeats_them_for_a_refused_batch() -> None:
    section = FastSynthesis(
        balanced_labels=True,
        balance_over="rounds",
        batch_size=3,
        latent_dim=5,
        generator_width=4,
        steps=1,
    )
    synthesizer = parts.fast(section)
    for round in range(4):
        labels = synthesizer.synthesize(round).labels
        expected = classes_of_round(parts.SEED, round, 3, parts.CLASSES)
        assert labels is not None
        assert torch.equal(labels, expected)
    again = synthesizer.synthesize(3, attempt=1).labels
    assert again is not None
    assert torch.equal(again, expected)


def test_it_needs_balanced_labels_and_one_class_an_image() -> None:
    with pytest.raises(ValueError, match="needs balanced_labels: true"):
        FastSynthesis(balance_over="rounds")
    section = FastSynthesis(balanced_labels=True, balance_over="rounds", batch_size=3)
    with pytest.raises(ValueError, match="one class for each image"):
        parts.fast(section, kind=Segmentation(parts.CLASSES))
