"""What is refused before a teacher is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastdfkd.api.execution import execute
from fastdfkd.models import build_network, save_weights
from fastdfkd.recipe import load_recipe


def test_a_student_that_does_not_fit_is_told_before_a_teacher_is_trained(
    workplace: Path, platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fastdfkd.api.execution.obtain_teacher", lambda *_, **__: pytest.fail("trained")
    )
    recipe = load_recipe("digits-fast5", {"student.model": "resnet9"})
    with pytest.raises(ValueError, match="resnet9"):
        execute(recipe, workplace)


@pytest.mark.parametrize("weights", [False, True])
def test_a_cluster_that_is_too_small_is_an_error_before_work_is_spent(
    workplace: Path, platform: Any, monkeypatch: pytest.MonkeyPatch, weights: bool
) -> None:
    """Before a teacher is trained or evaluated, and before held-out images are synthesised."""
    changes = {"teacher.model": "resnet8-half", "evaluation.synthetic_images": 10}
    if weights:
        save_weights(workplace / "net.safetensors", build_network("resnet8-half", 10, 1))
        changes["teacher.weights"] = "net.safetensors"
    teachers = "fastdfkd.trainers.teacher"
    monkeypatch.setattr(f"{teachers}.train_classifier", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr(
        "fastdfkd.experiment.judges.synthetic_images", lambda *_, **__: pytest.fail("synthesised")
    )
    platform.too_small = ValueError("the recipe asks for 9 CPU")
    recipe = load_recipe("digits-fast5", changes)
    with pytest.raises(ValueError, match="asks for 9 CPU"):
        execute(recipe, workplace)
    assert platform.addresses == [None]
    assert not (workplace / "recipe.yaml").exists()
